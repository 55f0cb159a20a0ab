import { describe, expect, test } from 'bun:test'
import { answered, expectInvalid, expectProblem, type MediaObject, newUser, tokenFor } from '../support/http/client.ts'
import { jpegOf, MiB, partsClient } from '../support/http/parts.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, usualStage } from '../support/process/acceptance.ts'

const stage = await usualStage()
const { baseUrl, call, complete, get, inside } = stage
const { sign } = partsClient(stage)

type Signed = { id: string; url: string; key?: string; headers?: Record<string, string> }
const signed = async (user: string, request: Record<string, unknown>) =>
  answered<Signed>(200, await sign(user, request))
const rocket = await readCorpus('accept/rocket.jpg')
const large = { filename: 'large.jpg', fileType: 'image/jpeg', size: 9 * MiB }

/** Sends a request as Uppy does, with what was signed and nothing else. */
const follow = (method: string, { url, headers }: Signed, body?: Uint8Array<ArrayBuffer> | string) =>
  fetch(url, { method, headers: headers ?? {}, ...(body !== undefined && { body }) })
const between = (xml: string, element: string) =>
  [...xml.matchAll(new RegExp(`<${element}>([^<]*)</${element}>`, 'g'))].map(([, text]) => text ?? '')

describe('a request to sign', () => {
  test('for a small file answers with a link to the store, and the key', async () => {
    const user = newUser()
    const file = { filename: 'rocket.jpg', size: rocket.length }
    const link = await signed(user, { method: 'PUT', key: 'uppy-1', contentType: 'image/jpeg', ...file })
    expect(link).toEqual({
      id: expect.any(String),
      key: `media/${link.id}/original.jpg`,
      url: expect.stringContaining(`media/${link.id}/original.jpg?`),
      headers: { 'content-type': 'image/jpeg', 'if-none-match': '*' },
    })
    expect((await follow('PUT', link, new Uint8Array(rocket))).status).toBe(200)
    expect(await answered<MediaObject>(200, await complete(user, link.id))).toMatchObject({
      originalName: 'rocket.jpg',
    })
  })

  test('needs no more than Uppy says for a small file', async () => {
    const link = await signed(newUser(), { method: 'PUT', key: 'uppy-1', contentType: 'image/png' })
    expect(link.key).toEndWith('/original.png')
  })

  test('is refused where it makes no sense, with the field that does not', async () => {
    const user = newUser()
    await expectInvalid(await sign(user, { method: 'PUT', key: 'x', fileType: 'x'.repeat(128) }), 'fileType')
    await expectInvalid(await sign(user, { method: 'POST', key: 'x', fileType: 'image/jpeg' }), 'size')
    await expectInvalid(await sign(user, { method: 'DELETE', key: 'x' }), 'uploadId')
    await expectInvalid(await sign(user, { method: 'GET', key: 'x' }), 'uploadId')
    await expectInvalid(await sign(user, { method: 'PATCH', key: 'x' }), 'method')
    await expectInvalid(
      await sign(user, { method: 'PUT', key: `media/${crypto.randomUUID()}/x`, uploadId: 'u' }),
      'partNumber',
    )
    await expectProblem(await sign(user, { method: 'PUT', key: 'x', uploadId: 'u', partNumber: 1 }), 404, 'not_found')
    await expectProblem(await sign(user, { method: 'GET', key: '../x', uploadId: 'u' }), 404, 'not_found')
    await expectProblem(
      await sign(user, { method: 'PUT', key: 'x', contentType: 'text/html' }),
      415,
      'media_type_unsupported',
    )
    await expectProblem(await call('/media/sign', { method: 'POST', json: {} }), 401, 'token_missing')
  })

  test.skipIf(backend === 'real')('for parts is refused where the store takes none', async () => {
    await expectProblem(await sign(newUser(), { method: 'POST', key: 'x', ...large }), 409, 'state_conflict')
  })
})

describe.skipIf(backend === 'embedded')("a multipart upload, in S3's words", () => {
  const begin = async (user: string) => {
    const create = await signed(user, { method: 'POST', key: 'uppy-1', ...large })
    const answer = await follow('POST', create)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/xml'])
    const text = await answer.text()
    const [uploadId = ''] = between(text, 'UploadId')
    expect(between(text, 'Key')).toEqual([create.key ?? ''])
    return { id: create.id, key: create.key ?? '', uploadId }
  }
  const partOf = ({ key, uploadId }: { key: string; uploadId: string }, partNumber: number) => ({
    ...{ method: 'PUT', key, uploadId, partNumber },
  })
  const sendPart = async (
    user: string,
    upload: { key: string; uploadId: string },
    partNumber: number,
    body: Uint8Array,
    partSize?: number,
  ) => {
    const link = await signed(user, { ...partOf(upload, partNumber), ...(partSize !== undefined && { partSize }) })
    const answer = await follow('PUT', link, new Uint8Array(body))
    expect(answer.status).toBe(200)
    expect(answer.headers.get('etag')).toBeTruthy()
  }
  const list = async (user: string, { key, uploadId }: { key: string; uploadId: string }) =>
    (await follow('GET', await signed(user, { method: 'GET', key, uploadId }))).text()

  test('goes from its beginning to an active object, with parts of the size that Uppy gives them', async () => {
    const user = newUser()
    const bytes = await jpegOf(9 * MiB)
    const upload = await begin(user)
    expect((await inside?.rowOf(upload.id))?.original_name).toBe('large.jpg')
    await sendPart(user, upload, 1, bytes.subarray(0, 5 * MiB))
    expect(between(await list(user, upload), 'PartNumber')).toEqual(['1'])
    await sendPart(user, upload, 2, bytes.subarray(5 * MiB))
    expect(between(await list(user, upload), 'Size')).toEqual([String(5 * MiB), String(4 * MiB)])
    const { key, uploadId } = upload
    const end = await signed(user, { method: 'POST', key, uploadId })
    const answer = await follow('POST', end, '<CompleteMultipartUpload></CompleteMultipartUpload>')
    expect(answer.status).toBe(200)
    const text = await answer.text()
    expect(between(text, 'Key')).toEqual([upload.key])
    expect(between(text, 'Location')).toEqual([`${baseUrl}/media/${upload.id}/content`])
    expect(await answered<MediaObject>(200, await get(user, upload.id))).toMatchObject({ sizeBytes: 9 * MiB })
    const stored = await inside?.storedUnder(upload.key)
    expect(Buffer.from(stored?.bytes ?? []).equals(bytes)).toBe(true)

    // As a client that has not heard of it: it finds nothing left to send, and completes once more.
    const numbers = between(await list(user, upload), 'PartNumber')
    expect(numbers).toEqual(['1', '2'])
    expect((await follow('POST', end)).status).toBe(200)
    expect((await inside?.rowOf(upload.id))?.event_seq).toBe(1)
  })

  test('is given up by DELETE', async () => {
    const user = newUser()
    const upload = await begin(user)
    const { key, uploadId } = upload
    expect((await follow('DELETE', await signed(user, { method: 'DELETE', key, uploadId }))).status).toBe(204)
    expect((await inside?.rowOf(upload.id))?.status).toBe('purging')
    await expectProblem(await sign(user, { method: 'PUT', key, uploadId, partNumber: 1 }), 404, 'not_found')
  })

  test('keeps the token away from the store, and needs it for the service', async () => {
    const user = newUser()
    const upload = await begin(user)
    const { id, key, uploadId } = upload
    expect(await signed(user, { method: 'PUT', key, uploadId, partNumber: 1 })).toEqual({ id, url: expect.any(String) })
    const own = await signed(user, { method: 'GET', key, uploadId })
    expect(own.headers).toEqual({ authorization: expect.stringMatching(/^Bearer /) })
    await expectProblem(await fetch(own.url), 401, 'token_missing')
    const foreign = { authorization: `Bearer ${await tokenFor(newUser())}` }
    for (const method of ['GET', 'POST', 'DELETE'])
      await expectProblem(await fetch(own.url, { method, headers: foreign }), 404, 'not_found')
  })

  test('has no links for strangers, nor for another upload', async () => {
    const user = newUser()
    const { key, uploadId } = await begin(user)
    const part = { method: 'PUT', key, uploadId, partNumber: 1 }
    await expectProblem(await sign(newUser(), part), 404, 'not_found')
    await expectProblem(await sign(user, { ...part, uploadId: 'another' }), 404, 'not_found')
  })

  test('with more or fewer bytes than were declared is not completed', async () => {
    const user = newUser()
    const upload = await begin(user)
    const end = await signed(user, { method: 'POST', key: upload.key, uploadId: upload.uploadId })
    await sendPart(user, upload, 1, await jpegOf(5 * MiB))
    await expectProblem(await follow('POST', end), 409, 'upload_incomplete')
    const link = await signed(user, partOf(upload, 2))
    for (const size of [5 * MiB, 4 * MiB + 1, 4 * MiB - 1])
      expect([400, 403]).toContain((await follow('PUT', link, new Uint8Array(size))).status)
    await expectInvalid(await sign(user, partOf(upload, 3)), 'partNumber')
    await expectProblem(await follow('POST', end), 409, 'upload_incomplete')
    expect(between(await list(user, upload), 'Size')).toEqual([String(5 * MiB)])
    await sendPart(user, upload, 2, new Uint8Array(4 * MiB))
    expect((await follow('POST', end)).status).toBe(200)
  })

  test('has parts of the size that the page has told Uppy, and then of no other', async () => {
    const user = newUser()
    const upload = await begin(user)
    const bytes = await jpegOf(9 * MiB)
    await sendPart(user, upload, 1, bytes.subarray(0, 6 * MiB), 6 * MiB)
    const problem = await expectProblem(await sign(user, partOf(upload, 2)), 409, 'state_conflict')
    expect(problem.detail).toContain(String(6 * MiB))
    const ours = { as: user, method: 'POST', json: { partNumbers: [2] } }
    await expectProblem(await call(`/media/${upload.id}/parts`, ours), 409, 'state_conflict')
    await sendPart(user, upload, 2, bytes.subarray(6 * MiB), 6 * MiB)
    await answered<MediaObject>(200, await complete(user, upload.id))
  })
})
