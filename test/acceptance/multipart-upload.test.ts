import { describe, expect, test } from 'bun:test'
import { CompleteMultipartUploadCommand, CreateMultipartUploadCommand } from '@aws-sdk/client-s3'
import {
  answered,
  expectBytes,
  expectInvalid,
  expectProblem,
  type MediaObject,
  newUser,
  until,
} from '../support/http/client.ts'
import { jpegOf, MiB, type Multipart, type Parts, partsClient, uploadsUnderWay } from '../support/http/parts.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, usualStage } from '../support/process/acceptance.ts'
import { s3Client } from '../support/services/buckets.ts'

const stage = await usualStage()
const { call, complete, get, presigned, put, inside, env } = stage
const { begin, links, askForLinks, listParts, abort, send } = partsClient(stage)
const bucket = env.S3_BUCKET ?? ''

const begun = async (user: string, declared: Record<string, unknown> = {}) =>
  answered<Multipart>(200, await begin(user, declared))
const partsOf = async (user: string, id: string) => (await answered<Parts>(200, await listParts(user, id))).parts

describe.skipIf(backend === 'embedded')('a multipart upload', () => {
  test('is announced with all that a client needs to send it', async () => {
    const user = newUser()
    const before = Date.now()
    const upload = await begun(user, { filename: 'large.jpg', size: 20 * MiB, visibility: 'public' })
    expect(upload).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{14}7[0-9a-f-]{21}$/),
      key: `media/${upload.id}/original.jpg`,
      uploadId: expect.any(String),
      partSize: 8 * MiB,
      expiresAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    })
    expect(Math.abs(Date.parse(upload.expiresAt) - before - 86_400_000)).toBeLessThan(20_000)
    expect(await inside?.rowOf(upload.id)).toMatchObject({
      user_id: user,
      original_name: 'large.jpg',
      size_bytes: 20 * MiB,
      status: 'pending',
      visibility: 'public',
      upload_id: upload.uploadId,
      outbox: [],
    })
    expect(await uploadsUnderWay(bucket, upload.key)).toEqual([upload.uploadId])
    await expectProblem(await get(user, upload.id), 404, 'not_found')
  })

  test('becomes the object whose bytes were sent, with one event', async () => {
    const user = newUser()
    const bytes = await jpegOf(20 * MiB)
    const upload = await begun(user, { size: bytes.length })
    await send(user, upload, bytes)
    const object = await answered<MediaObject>(200, await complete(user, upload.id))
    expect(object).toMatchObject({
      id: upload.id,
      key: upload.key,
      mimeType: 'image/jpeg',
      sizeBytes: 20 * MiB,
      metadata: { width: 640, height: 427, thumbHash: null, dominantColor: null },
      status: 'active',
    })
    const { signedUrl } = await answered<{ signedUrl: string }>(200, await get(user, upload.id))
    await expectBytes(await fetch(signedUrl), bytes)
    expect((await inside?.storedUnder(upload.key))?.type).toBe('image/jpeg')
    expect(await uploadsUnderWay(bucket, upload.key)).toEqual([])
    await until(async () => expect(await inside?.streamed(upload.id)).toHaveLength(1))
    expect((await inside?.streamed(upload.id))?.[0]).toMatchObject({
      channel: 'photo:uploaded',
      payload: { id: upload.id, userId: user, seq: 1, sizeBytes: 20 * MiB, width: 640, height: 427 },
    })
  })

  test('shows what has arrived, waits for the rest, and takes a part again', async () => {
    const user = newUser()
    const bytes = await jpegOf(17 * MiB)
    const upload = await begun(user, { size: bytes.length })
    expect(await partsOf(user, upload.id)).toEqual([])
    await send(user, upload, bytes, [3, 1])
    expect(await partsOf(user, upload.id)).toEqual([
      { partNumber: 1, size: 8 * MiB, etag: expect.stringMatching(/^"[0-9a-f]{32}"$/) },
      { partNumber: 3, size: 1 * MiB, etag: expect.any(String) },
    ])
    await expectProblem(await complete(user, upload.id), 409, 'upload_incomplete')
    expect((await inside?.rowOf(upload.id))?.status).toBe('pending')
    await send(user, upload, bytes, [1, 2])
    await answered<MediaObject>(200, await complete(user, upload.id))
    const stored = await inside?.storedUnder(upload.key)
    expect(Buffer.from(stored?.bytes ?? []).equals(bytes)).toBe(true)
  })

  test('is completed once, however often and at whatever time it is asked for', async () => {
    const user = newUser()
    const bytes = await jpegOf(9 * MiB)
    const upload = await begun(user)
    await send(user, upload, bytes)
    const answers = await Promise.all([1, 2, 3, 4].map(() => complete(user, upload.id)))
    const objects = await Promise.all(answers.map((answer) => answered<MediaObject>(200, answer)))
    objects.push(await answered<MediaObject>(200, await complete(user, upload.id)))
    expect(new Set(objects.map((object) => JSON.stringify(object))).size).toBe(1)
    expect((await inside?.rowOf(upload.id))?.event_seq).toBe(1)
    await expectProblem(await listParts(user, upload.id), 409, 'state_conflict')
    await expectProblem(await askForLinks(user, upload.id, [1]), 409, 'state_conflict')
    await expectProblem(await abort(user, upload.id), 409, 'state_conflict')
  })

  test('goes on where the store has put the parts together and nobody heard of it', async () => {
    const user = newUser()
    const bytes = await jpegOf(9 * MiB)
    const upload = await begun(user)
    await send(user, upload, bytes)
    const Parts = (await partsOf(user, upload.id)).map((part) => ({ PartNumber: part.partNumber, ETag: part.etag }))
    const where = { Bucket: bucket, Key: upload.key, UploadId: upload.uploadId }
    const client = await s3Client()
    await client.send(new CompleteMultipartUploadCommand({ ...where, MultipartUpload: { Parts } }))
    client.destroy()
    await expectProblem(await listParts(user, upload.id), 409, 'state_conflict')
    expect(await answered<MediaObject>(200, await complete(user, upload.id))).toMatchObject({ status: 'active' })
  })

  test('leaves no other upload of its key behind, and no link that still works', async () => {
    const user = newUser()
    const bytes = await jpegOf(9 * MiB)
    const upload = await begun(user)
    const client = await s3Client()
    await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: upload.key }))
    client.destroy()
    const { urls } = await links(user, upload.id, [2])
    await send(user, upload, bytes)
    await answered<MediaObject>(200, await complete(user, upload.id))
    expect(await uploadsUnderWay(bucket, upload.key)).toEqual([])
    const late = await fetch(urls[0]?.url ?? '', { method: 'PUT', body: bytes.subarray(8 * MiB) })
    expect(late.status).toBe(404)
    expect(await inside?.keys(`media/${upload.id}/`)).toEqual([upload.key])
  })

  test('has a row that outlives its last link by an hour', async () => {
    const user = newUser()
    const upload = await begun(user)
    const before = (await inside?.rowOf(upload.id))?.links_until.getTime() ?? 0
    await Bun.sleep(50)
    const { expiresAt } = await links(user, upload.id, [1])
    expect(Math.abs(Date.parse(expiresAt) - Date.now() - 900_000)).toBeLessThan(20_000)
    const after = (await inside?.rowOf(upload.id))?.links_until.getTime() ?? 0
    expect(after).toBeGreaterThan(before)
    expect(after).toBeGreaterThanOrEqual(Date.parse(expiresAt) + 3_600_000)
  })

  test('has links for as many bytes as each part has, and for no part beyond the last', async () => {
    const user = newUser()
    const upload = await begun(user, { size: 8 * MiB + 5 })
    const { urls } = await links(user, upload.id, [2, 1])
    expect(urls.map(({ partNumber }) => partNumber)).toEqual([2, 1])
    const last = urls[0]?.url ?? ''
    for (const size of [4, 6]) {
      const answer = await fetch(last, { method: 'PUT', body: new Uint8Array(size) })
      expect([400, 403]).toContain(answer.status)
    }
    expect((await fetch(last, { method: 'PUT', body: new Uint8Array(5) })).status).toBe(200)
    await expectInvalid(await askForLinks(user, upload.id, [1, 3]), 'partNumbers.1')
    await expectInvalid(await askForLinks(user, upload.id, []), 'partNumbers')
    await expectInvalid(
      await askForLinks(user, upload.id, [0, 1.5, 10_001]),
      ...[0, 1, 2].map((i) => `partNumbers.${i}`),
    )
    await expectInvalid(await askForLinks(user, upload.id, new Array(101).fill(1)), 'partNumbers')
  })

  test('gets the type of its bytes when it is another picture', async () => {
    const user = newUser()
    const bytes = new Uint8Array(9 * MiB)
    bytes.set(await readCorpus('accept/astronaut.png'))
    const upload = await begun(user)
    await send(user, upload, bytes)
    const object = await answered<MediaObject>(200, await complete(user, upload.id))
    expect(object).toMatchObject({ mimeType: 'image/png', sizeBytes: bytes.length })
    expect(await inside?.keys(`media/${upload.id}/`)).toEqual(inside && [expect.stringMatching(/original\.png$/)])
  })

  test('is refused and removed when its bytes are of a type that is not accepted', async () => {
    const user = newUser()
    const bytes = new Uint8Array(9 * MiB)
    bytes.set(await readCorpus('refuse/document.pdf'))
    const upload = await begun(user)
    await send(user, upload, bytes)
    await expectProblem(await complete(user, upload.id), 415, 'media_type_unsupported')
    expect((await inside?.rowOf(upload.id))?.status).toBe('purging')
    expect(await inside?.keys(`media/${upload.id}/`)).toEqual([])
    await expectProblem(await complete(user, upload.id), 404, 'not_found')
  })

  test('is not there for others, in no call, and for nobody unknown', async () => {
    const [owner, stranger] = [newUser(), newUser()]
    const upload = await begun(owner)
    const unknown = crypto.randomUUID()
    for (const [user, id] of [[stranger, upload.id] as const, [owner, unknown] as const]) {
      await expectProblem(await listParts(user, id), 404, 'not_found')
      await expectProblem(await askForLinks(user, id, [1]), 404, 'not_found')
      await expectProblem(await complete(user, id), 404, 'not_found')
      await expectProblem(await abort(user, id), 404, 'not_found')
    }
    const paths = [`POST /media/multipart`, `GET /media/${upload.id}/parts`, `POST /media/${upload.id}/parts`]
    for (const line of [...paths, `DELETE /media/${upload.id}/upload`]) {
      const [method = '', path = ''] = line.split(' ')
      await expectProblem(await call(path, { method, ...(method === 'POST' && { json: {} }) }), 401, 'token_missing')
    }
    expect(await partsOf(owner, upload.id)).toEqual([])
  })

  test('is refused before anything is made, where it could not be completed', async () => {
    const user = newUser()
    await expectInvalid(await begin(user, { size: undefined }), 'size')
    await expectInvalid(await begin(user, { size: 0 }), 'size')
    await expectProblem(await begin(user, { size: 5 * 1024 * MiB + 1 }), 413, 'file_too_large')
    await expectProblem(await begin(user, { fileType: 'application/pdf' }), 415, 'media_type_unsupported')
    await expectProblem(await begin(user, { sha256: '0'.repeat(64) }), 422, 'checksum_unenforceable')
    expect(await inside?.rowsOf(user)).toEqual([])
  })

  test('has parts that a store lists in few pages, even at the largest size', async () => {
    const upload = await begun(newUser(), { size: 5 * 1024 * MiB })
    expect(upload.partSize).toBe(8 * MiB)
  })

  test('is the same one for the same Idempotency-Key, and never another', async () => {
    const user = newUser()
    const key = { 'idempotency-key': crypto.randomUUID() }
    const answers = await Promise.all([1, 2, 3].map(() => begin(user, {}, key)))
    const uploads = await Promise.all(answers.map((answer) => answered<Multipart>(200, answer)))
    uploads.push(await answered<Multipart>(200, await begin(user, {}, key)))
    expect(new Set(uploads.map((upload) => JSON.stringify(upload))).size).toBe(1)
    const [upload] = uploads
    expect(await uploadsUnderWay(bucket, upload?.key ?? '')).toEqual([upload?.uploadId ?? ''])
    await expectProblem(await begin(user, { filename: 'b.jpg' }, key), 409, 'idempotency_conflict')
    expect(await inside?.rowsOf(user)).toHaveLength(1)
  })
})

describe('giving an upload up', () => {
  test.skipIf(backend === 'embedded')('removes the parts, and none can be added', async () => {
    const user = newUser()
    const bytes = await jpegOf(9 * MiB)
    const upload = await begun(user)
    const { urls } = await links(user, upload.id, [2])
    await send(user, upload, bytes, [1])
    expect((await abort(user, upload.id)).status).toBe(204)
    expect((await inside?.rowOf(upload.id))?.status).toBe('purging')
    expect(await uploadsUnderWay(bucket, upload.key)).toEqual([])
    const late = await fetch(urls[0]?.url ?? '', { method: 'PUT', body: bytes.subarray(8 * MiB) })
    expect(late.status).toBe(404)
    await expectProblem(await abort(user, upload.id), 404, 'not_found')
    await expectProblem(await complete(user, upload.id), 404, 'not_found')
    await expectProblem(await listParts(user, upload.id), 404, 'not_found')
  })

  test('works for an upload over one link, too', async () => {
    const user = newUser()
    const bytes = await readCorpus('accept/rocket.jpg')
    const link = await presigned(user, { size: bytes.length })
    expect((await put(link, bytes)).status).toBe(200)
    expect((await abort(user, link.id)).status).toBe(204)
    expect((await inside?.rowOf(link.id))?.status).toBe(inside && 'purging')
    expect(await inside?.keys(`media/${link.id}/`)).toEqual(inside && [])
    await expectProblem(await complete(user, link.id), 404, 'not_found')
    await expectProblem(await abort(user, link.id), 404, 'not_found')
  })

  test('is for its owner only', async () => {
    const link = await presigned(newUser())
    await expectProblem(await abort(newUser(), link.id), 404, 'not_found')
    await expectProblem(await call(`/media/${link.id}/upload`, { method: 'DELETE' }), 401, 'token_missing')
  })
})

test('an upload over one link has no parts', async () => {
  const user = newUser()
  const { id } = await presigned(user)
  await expectProblem(await listParts(user, id), 409, 'state_conflict')
  await expectProblem(await askForLinks(user, id, [1]), 409, 'state_conflict')
})

describe.skipIf(backend === 'real')('a store that takes no multipart uploads', () => {
  test('says so, and what to do instead', async () => {
    const problem = await expectProblem(await begin(newUser()), 409, 'state_conflict')
    expect(problem.detail).toContain('presign')
  })
})
