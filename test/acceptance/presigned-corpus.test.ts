import { describe, expect, test } from 'bun:test'
import { extname } from 'node:path'
import mime from 'mime'
import {
  answered,
  expectBytes,
  expectProblem,
  type MediaObject,
  newUser,
  type SignedMediaObject,
} from '../support/http/client.ts'
import { accepted, DEFAULT_TYPES, names, readCorpus, refused } from '../support/pictures/corpus.ts'
import { usualStage } from '../support/process/acceptance.ts'

const { complete, get, inside, page, presign, presigned, put } = await usualStage()

const pictures = accepted.filter(({ type }) => DEFAULT_TYPES.has(type))

describe('a file sent to the store under its true type is accepted', () => {
  test.each(pictures)('$file', async ({ file, type, width, height }) => {
    const user = newUser()
    const bytes = await readCorpus(file)
    const link = await presigned(user, { filename: 'report.pdf', fileType: type })
    expect((await put(link, bytes)).status).toBe(200)
    const object = await answered<MediaObject>(200, await complete(user, link.id))
    expect(object).toMatchObject({ id: link.id, key: link.key, url: link.publicUrl })
    expect(object).toMatchObject({ mimeType: type, sizeBytes: bytes.length, originalName: 'report.pdf' })
    expect(object.metadata).toMatchObject({ width, height })

    const { signedUrl } = await answered<SignedMediaObject>(200, await get(user, link.id))
    const fetched = await fetch(signedUrl)
    expect(fetched.headers.get('content-type')).toBe(type)
    await expectBytes(fetched, bytes)
    if (inside !== undefined)
      expect(await inside.rowOf(link.id)).toMatchObject({ status: 'active', size_bytes: bytes.length })
  })
})

describe('a picture sent to the store under another type, or none, gets its own on completion', () => {
  test.each(pictures)('$file', async ({ file, type, width, height }) => {
    const user = newUser()
    const bytes = await readCorpus(file)
    for (const fileType of [type === 'image/png' ? 'IMAGE/JPG' : 'image/png', '']) {
      const link = await presigned(user, { fileType })
      expect((await put(link, bytes)).status).toBe(200)
      const object = await answered<MediaObject>(200, await complete(user, link.id))
      expect(object).toMatchObject({ mimeType: type, sizeBytes: bytes.length, metadata: { width, height } })
      const { signedUrl, key } = await answered<SignedMediaObject>(200, await get(user, link.id))
      expect(mime.getType(extname(key))).toBe(type)
      const fetched = await fetch(signedUrl)
      expect(fetched.headers.get('content-type')).toBe(type)
      await expectBytes(fetched, bytes)
      if (inside === undefined) continue
      expect(await inside.keys(`media/${link.id}/`)).toEqual([key])
      expect((await inside.storedUnder(key))?.type).toBe(type)
    }
  })
})

describe('a file that an upload refuses is refused at complete with the same answer', () => {
  const takenByPresign = refused.filter(({ declared }) => DEFAULT_TYPES.has(declared))
  test.each(takenByPresign)('$file', async ({ file, declared, status, code }) => {
    const user = newUser()
    const link = await presigned(user, { fileType: declared })
    expect((await put(link, await readCorpus(file))).status).toBe(200)
    await expectProblem(await complete(user, link.id), status, code)
    await expectGone(user, link.id)
  })

  const refusedByPresign = refused.filter(({ declared }) => !DEFAULT_TYPES.has(declared))
  test.each(refusedByPresign)('$file, already when its type is declared', async ({ declared, status, code }) => {
    const user = newUser()
    await expectProblem(await presign(user, { filename: 'a.jpg', fileType: declared }), status, code)
    expect(await inside?.rowsOf(user)).toEqual(inside && [])
  })
})

test.each(names)('a declared file name is made safe: $sent', async ({ sent, stored, repeatX }) => {
  const user = newUser()
  const filename = repeatX === undefined ? sent : `${'x'.repeat(repeatX)}.jpg`
  const link = await presigned(user, { filename })
  await put(link, await readCorpus('accept/rocket.jpg'))
  const { originalName } = await answered<MediaObject>(200, await complete(user, link.id))
  expect(originalName).toBe(stored ?? `${'x'.repeat(251)}.jpg`)
})

/** The row is on its way out and nobody sees it any more; its bytes are gone. */
async function expectGone(user: string, id: string): Promise<void> {
  await expectProblem(await complete(user, id), 404, 'not_found')
  await expectProblem(await get(user, id), 404, 'not_found')
  expect((await page(user)).items).toEqual([])
  expect((await page(user, '?status=deleted')).items).toEqual([])
  if (inside === undefined) return
  expect((await inside.rowOf(id))?.status).toBe('purging')
  expect(await inside.keys(`media/${id}/`)).toEqual([])
  expect(inside.heard(id)).toEqual([])
}
