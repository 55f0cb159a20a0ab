import { afterAll, describe, expect, test } from 'bun:test'
import { answered, expectProblem, type MediaObject, newUser, tokenFor } from '../support/http/client.ts'
import { BOUNDARY, head, multipart } from '../support/http/multipart.ts'
import { openRawConnection, type RawAnswer, requestHead } from '../support/http/raw-connection.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'

const MiB = 1024 * 1024
const LIMIT = MiB

const { baseUrl, call, inside, page, presign, presigned, put, complete, sendParts, upload, close } = await openStage({
  MAX_UPLOAD_BYTES: String(LIMIT),
  MAX_OBJECT_BYTES: String(2 * LIMIT),
})
afterAll(close)

const large = multipart([{ name: 'file', filename: 'large.jpg', content: new Uint8Array(8 * MiB) }])

/** A JPEG may have anything behind its end. */
async function picture(size: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(size)
  bytes.set(await readCorpus('accept/rocket.jpg'))
  return bytes
}

describe('MAX_UPLOAD_BYTES', () => {
  test('is the largest file that is taken', async () => {
    const object = await answered<MediaObject>(201, await upload(newUser(), await picture(LIMIT)))
    expect(object.sizeBytes).toBe(LIMIT)
  })

  test('is not a byte more', async () => {
    const user = newUser()
    await expectProblem(await upload(user, await picture(LIMIT + 1)), 413, 'file_too_large')
    expect((await page(user)).items).toEqual([])
    expect(await inside?.rowsOf(user)).toEqual(inside && [])
  })

  test('is for the file, so many bytes of anything else are too large as well', async () => {
    const parts = Array.from({ length: 8 }, (_, i) => ({
      name: `f${i}`,
      filename: 'a',
      content: new Uint8Array(LIMIT),
    }))
    const response = await sendParts(newUser(), parts)
    expect(response.status).toBe(413)
    await response.body?.cancel()
  })

  test('holds for eight times as much, and fetch gets to read the answer', async () => {
    const user = newUser()
    for (let i = 0; i < 5; i += 1)
      await expectProblem(await call('/media/upload', { as: user, method: 'POST', ...large }), 413, 'file_too_large')
    expect((await page(user)).items).toEqual([])
  })

  test('holds for a body without Content-Length, and fetch gets to read the answer', async () => {
    const body = new Blob([large.body]).stream()
    const response = await call('/media/upload', { as: newUser(), method: 'POST', headers: large.headers, body })
    await expectProblem(response, 413, 'file_too_large')
  })

  test('does not hold for what goes straight to the store', async () => {
    const user = newUser()
    const link = await presigned(user, { size: LIMIT + 1 })
    expect((await put(link, await picture(LIMIT + 1))).status).toBe(200)
    expect(await answered<MediaObject>(200, await complete(user, link.id))).toMatchObject({ sizeBytes: LIMIT + 1 })
  })
})

describe('a client that sends everything before it reads', () => {
  test('gets to read that the file is too large', async () => {
    const answer = await sendAll({ 'content-length': String(large.body.length) }, [large.body])
    expectRawProblem(answer, 413, 'file_too_large')
  })

  test('gets to read it when it sent no Content-Length', async () => {
    const chunks = Array.from({ length: 8 }, () => new Uint8Array(MiB))
    const file = [Buffer.from(head({ name: 'file', filename: 'a.jpg' })), ...chunks, Buffer.from(`\r\n--${BOUNDARY}--`)]
    const body = file.flatMap((chunk) => [`${chunk.length.toString(16)}\r\n`, chunk, '\r\n'])
    const answer = await sendAll({ 'transfer-encoding': 'chunked' }, [...body, '0\r\n\r\n'])
    expectRawProblem(answer, 413, 'file_too_large')
  })

  test('gets to read that it is not known', async () => {
    const unknown = { 'content-length': String(large.body.length), authorization: 'Bearer bad' }
    expectRawProblem(await sendAll(unknown, [large.body]), 401, 'token_invalid')
  })

  test('gets to read that its request is of no supported type', async () => {
    const wrong = { 'content-length': String(large.body.length), 'content-type': 'application/octet-stream' }
    expectRawProblem(await sendAll(wrong, [large.body]), 415, 'content_type_unsupported')
  })

  test('gets to read that there is nothing at this address', async () => {
    const answer = await sendAll({ 'content-length': String(large.body.length) }, [large.body], '/media/nowhere/at/all')
    expectRawProblem(answer, 404, 'not_found')
  })
})

describe('a JSON body of more than 64 KiB', () => {
  const json = { filename: 'x'.repeat(MiB), fileType: 'image/jpeg' }

  test('is 413 body_too_large with Content-Length', async () => {
    await expectProblem(await presign(newUser(), json), 413, 'body_too_large')
  })

  test('is 413 body_too_large without Content-Length', async () => {
    const body = new Blob([JSON.stringify(json)]).stream()
    const headers = { 'content-type': 'application/json' }
    const response = await call('/media/presign', { as: newUser(), method: 'POST', headers, body })
    await expectProblem(response, 413, 'body_too_large')
  })

  test('is 413 body_too_large also to a client that sends everything before it reads', async () => {
    const body = JSON.stringify({ ...json, filename: 'x'.repeat(8 * MiB) })
    const headers = { 'content-type': 'application/json', 'content-length': String(body.length) }
    expectRawProblem(await sendAll(headers, [body], '/media/presign'), 413, 'body_too_large')
  })
})

describe('MAX_OBJECT_BYTES', () => {
  test('holds when the size is declared', async () => {
    const user = newUser()
    const declared = { filename: 'a.jpg', fileType: 'image/jpeg', size: 2 * LIMIT + 1 }
    await expectProblem(await presign(user, declared), 413, 'file_too_large')
    expect((await presign(user, { ...declared, size: 2 * LIMIT })).status).toBe(200)
  })

  test('holds when it is not', async () => {
    const user = newUser()
    const link = await presigned(user)
    const stored = await put(link, await picture(2 * LIMIT + 1))
    await stored.body?.cancel()
    if (inside === undefined) {
      // The disk store knows the limit itself.
      expect(stored.status).toBe(413)
      await expectProblem(await complete(user, link.id), 409, 'upload_incomplete')
    } else {
      expect(stored.status).toBe(200)
      await expectProblem(await complete(user, link.id), 413, 'file_too_large')
      expect((await inside.rowOf(link.id))?.status).toBe('purging')
      expect(await inside.keys(`media/${link.id}/`)).toEqual([])
    }
  })
})

/** Sends a POST in full and only then looks for an answer, as simple clients do. */
async function sendAll(
  headers: Record<string, string>,
  body: (string | Uint8Array)[],
  path = '/media/upload',
): Promise<RawAnswer> {
  const authorization = `Bearer ${await tokenFor(newUser())}`
  const connection = await openRawConnection(baseUrl)
  await connection.send(requestHead(`POST ${path}`, { ...large.headers, authorization, ...headers }))
  for (const chunk of body) await connection.send(chunk)
  const answer = await connection.answer()
  connection.destroy()
  return answer
}

function expectRawProblem({ status, headers, body }: RawAnswer, expected: number, code: string): void {
  expect([status, JSON.parse(body).code]).toEqual([expected, code])
  expect(headers.get('content-type')).toBe('application/problem+json')
}
