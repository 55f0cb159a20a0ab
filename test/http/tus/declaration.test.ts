import { expect, test } from 'bun:test'
import { metadataOf } from '../../../src/http/tus/declaration.ts'

const read = (sent: string) => metadataOf(new Headers({ 'upload-metadata': sent }))

test.each([
  ['filename YQ==,filetype aW1hZ2UvanBlZw==', 'filename YQ==,filetype aW1hZ2UvanBlZw=='],
  ['filename YQ==, filetype aW1hZ2UvanBlZw== ', 'filename YQ==,filetype aW1hZ2UvanBlZw=='],
  ['secret,filename YQ==', 'secret,filename YQ=='],
  ['filename YQ==,,', 'filename YQ=='],
  ['filename not base64,name !,other YQ==', 'other YQ=='],
  [' ', ''],
])('Upload-Metadata is read as tusd does: %j', (sent, meant) => {
  expect(read(sent)).toBe(meant)
})

test('none is none', () => {
  expect(metadataOf(new Headers())).toBeNull()
})
