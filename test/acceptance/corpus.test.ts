import { afterAll, describe, expect, test } from 'bun:test'
import {
  answered,
  expectBytes,
  expectProblem,
  type MediaObject,
  newUser,
  type SignedMediaObject,
} from '../support/http/client.ts'
import { accepted, DEFAULT_TYPES, names, readCorpus, refused } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'

const { get, inside, page, upload, close } = await openStage()
afterAll(close)

const pictures = accepted.filter(({ type }) => DEFAULT_TYPES.has(type))

describe('a file that is accepted, whatever its name and declared type', () => {
  test.each(pictures)('$file', async ({ file, type, width, height }) => {
    const user = newUser()
    const bytes = await readCorpus(file)
    const response = await upload(user, bytes, { name: 'report.pdf', type: 'application/pdf' })
    const object = await answered<MediaObject>(201, response)
    expect(object).toMatchObject({ mimeType: type, sizeBytes: bytes.length, originalName: 'report.pdf' })
    expect(object.metadata).toMatchObject({ width, height })

    const { signedUrl } = await answered<SignedMediaObject>(200, await get(user, object.id))
    const fetched = await fetch(signedUrl)
    expect(fetched.headers.get('content-type')).toBe(type)
    expect(fetched.headers.get('x-content-type-options')).toBe('nosniff')
    await expectBytes(fetched, bytes)

    if (inside === undefined) return
    expect(await inside.rowOf(object.id)).toMatchObject({ status: 'active', mime_type: type, size_bytes: bytes.length })
    expect((await inside.storedUnder(object.key))?.type).toBe(type)
  })
})

describe('a file that is refused, and leaves no row and no object', () => {
  test.each(refused)('$file', async ({ file, declared, status, code }) => {
    const user = newUser()
    const keysBefore = await inside?.keys()
    await expectProblem(await upload(user, file, { name: file, type: declared }), status, code)
    expect((await page(user)).items).toEqual([])
    if (inside === undefined) return
    expect(await inside.rowsOf(user)).toEqual([])
    expect(await inside.keys()).toEqual(keysBefore ?? [])
  })

  test('a film, unless the operator allows it', async () => {
    await expectProblem(await upload(newUser(), 'accept/clip.mp4'), 415, 'media_type_unsupported')
  })
})

describe('a file name is made safe', () => {
  test.each(names)('$sent', async ({ sent, stored, repeatX, storedMaxBytes, storedEndsWith }) => {
    const user = newUser()
    const name = repeatX === undefined ? sent : `${'x'.repeat(repeatX)}.jpg`
    const { id, originalName } = await answered<MediaObject>(201, await upload(user, 'accept/rocket.jpg', { name }))
    if (stored !== undefined) expect(originalName).toBe(stored)
    if (storedMaxBytes !== undefined) expect(Buffer.byteLength(originalName)).toBeLessThanOrEqual(storedMaxBytes)
    if (storedEndsWith !== undefined) expect(originalName).toEndWith(storedEndsWith)
    expect(await answered<MediaObject>(200, await get(user, id))).toMatchObject({ originalName })
    if (inside !== undefined) expect((await inside.rowOf(id))?.original_name).toBe(originalName)
  })
})
