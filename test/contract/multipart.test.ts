import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { MIN_PART_BYTES, type MultipartStorage } from '../../src/storage/multipart.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { refusal } from '../support/http/refusal.ts'
import { contractStores, type OpenStore, openDisk } from '../support/services/stores.ts'

const JPEG = { contentType: 'image/jpeg' }
const UNAVAILABLE = expect.objectContaining({ code: 'storage_unavailable', kind: 'outage' })
// MinIO says 400 where a signed header is missing, AWS 403.
const REFUSED = [400, 403]

test('the disk store has no multipart uploads', async () => {
  const store = await openDisk()
  expect((store.storage as Storage).multipart).toBeUndefined()
  await store.close()
})

for (const { name, present, open } of contractStores.filter((store) => store.name !== 'disk')) {
  describe.skipIf(!present)(`multipart uploads on the ${name} store`, () => {
    let store: OpenStore
    let storage: Storage
    let multipart: MultipartStorage
    beforeAll(async () => {
      store = await open()
      storage = store.storage
      multipart = storage.multipart ?? expect.unreachable()
    }, 30_000)
    afterAll(() => store.close(), 30_000)

    const newKey = () => `media/${crypto.randomUUID()}/original.jpg`
    const link = async (
      key: string,
      uploadId: string,
      some: Partial<Parameters<MultipartStorage['signPart']>[2]> = {},
    ) =>
      (await multipart.signPart(key, uploadId, { partNumber: 1, size: 5, from: new Date(), expiresIn: 60, ...some }))
        .url
    const put = (url: string, body: Uint8Array<ArrayBuffer>, headers = {}) =>
      fetch(url, { method: 'PUT', body, headers })
    const send = async (key: string, uploadId: string, partNumber: number, bytes: Uint8Array<ArrayBuffer>) => {
      const answer = await put(await link(key, uploadId, { partNumber, size: bytes.length }), bytes)
      expect(answer.status).toBe(200)
      return answer.headers.get('etag') ?? ''
    }
    const partsOf = async (key: string, uploadId: string) => (await multipart.parts(key, uploadId)) ?? []
    /** An upload with a first part of the smallest size and a last one. */
    const uploaded = async (key = newKey()) => {
      const bytes = [randomBytes(MIN_PART_BYTES), randomBytes(1000)] as const
      const uploadId = await multipart.begin(key, JPEG)
      await send(key, uploadId, 2, bytes[1])
      await send(key, uploadId, 1, bytes[0])
      return { key, uploadId, bytes: Buffer.concat(bytes) }
    }
    const stored = (key: string) => storage.read(key, { start: 0, length: 2 * MIN_PART_BYTES })

    test('an upload becomes one object of its type, when its parts are put together and not before', async () => {
      const { key, uploadId, bytes } = await uploaded()
      expect(await storage.head(key)).toBeNull()
      expect(await multipart.complete(key, uploadId, await partsOf(key, uploadId))).toBe('stored')
      expect(await storage.head(key)).toMatchObject({ size: bytes.length, contentType: 'image/jpeg' })
      expect(Buffer.compare(await stored(key), bytes)).toBe(0)
    })

    test('parts that have arrived are listed by number, with the ETag of their answer', async () => {
      const key = newKey()
      const uploadId = await multipart.begin(key, JPEG)
      expect(await multipart.parts(key, uploadId)).toEqual([])
      const etags = [await send(key, uploadId, 7, randomBytes(30)), await send(key, uploadId, 3, randomBytes(20))]
      expect(await multipart.parts(key, uploadId)).toEqual([
        { partNumber: 3, size: 20, etag: etags[1] ?? '' },
        { partNumber: 7, size: 30, etag: etags[0] ?? '' },
      ])
    })

    test('all parts are listed where the store lists a thousand at once', async () => {
      const key = newKey()
      const uploadId = await multipart.begin(key, JPEG)
      const numbers = Array.from({ length: 1003 }, (_, i) => i + 1)
      for (let i = 0; i < numbers.length; i += 50)
        await Promise.all(numbers.slice(i, i + 50).map((n) => send(key, uploadId, n, randomBytes(1))))
      expect((await partsOf(key, uploadId)).map(({ partNumber }) => partNumber)).toEqual(numbers)
    }, 60_000)

    test('a part may be sent again, also with other bytes, and the last counts', async () => {
      const key = newKey()
      const uploadId = await multipart.begin(key, JPEG)
      await send(key, uploadId, 1, randomBytes(10))
      const bytes = randomBytes(11)
      await send(key, uploadId, 1, bytes)
      await multipart.complete(key, uploadId, await partsOf(key, uploadId))
      expect(Buffer.compare(await stored(key), bytes)).toBe(0)
    })

    test('parts are put together once: then the upload is gone, and its links with it', async () => {
      const { key, uploadId } = await uploaded()
      const parts = await partsOf(key, uploadId)
      const url = await link(key, uploadId)
      expect(await multipart.complete(key, uploadId, parts)).toBe('stored')
      // versitygw repeats its answer.
      expect(['gone', 'occupied', 'stored']).toContain(await multipart.complete(key, uploadId, parts))
      expect(await multipart.parts(key, uploadId)).toBeNull()
      expect((await put(url, randomBytes(5))).status).toBe(404)
    })

    test('one of several concurrent completions stores the bytes, and the others do no harm', async () => {
      const { key, uploadId, bytes } = await uploaded()
      const parts = await partsOf(key, uploadId)
      const outcomes = await Promise.all([1, 2, 3].map(() => multipart.complete(key, uploadId, parts)))
      expect(outcomes.filter((outcome) => outcome === 'stored').length).toBeGreaterThan(0)
      expect(outcomes.filter((outcome) => !['stored', 'gone', 'occupied'].includes(outcome))).toEqual([])
      expect(Buffer.compare(await stored(key), bytes)).toBe(0)
    })

    test('bytes that are there are not replaced by a second upload of their key', async () => {
      const key = newKey()
      const [first, second] = [await uploaded(key), await uploaded(key)]
      await multipart.complete(key, first.uploadId, await partsOf(key, first.uploadId))
      expect(await multipart.complete(key, second.uploadId, await partsOf(key, second.uploadId))).toBe('occupied')
      expect(Buffer.compare(await stored(key), first.bytes)).toBe(0)
    })

    test('parts that have changed, or are too small, are not put together', async () => {
      const { key, uploadId } = await uploaded()
      const parts = await partsOf(key, uploadId)
      await send(key, uploadId, 2, randomBytes(1000))
      expect(await multipart.complete(key, uploadId, parts)).toBe('unfit')
      await send(key, uploadId, 1, randomBytes(1000))
      expect(await multipart.complete(key, uploadId, await partsOf(key, uploadId))).toBe('unfit')
      expect(await storage.head(key)).toBeNull()
    })

    test('an aborted upload is gone with its parts, and others of its key may be kept', async () => {
      const key = newKey()
      const [aborted, kept] = [await uploaded(key), await uploaded(key)]
      const neighbour = await uploaded(`${key}.part`)
      await storage.abortUploads(key, { except: kept.uploadId })
      expect(await multipart.parts(key, aborted.uploadId)).toBeNull()
      const part = { partNumber: 1, size: 1, etag: `"${'0'.repeat(32)}"` }
      expect(await multipart.complete(key, aborted.uploadId, [part])).toBe('gone')
      expect(await multipart.parts(key, kept.uploadId)).toHaveLength(2)
      await storage.abortUploads(key)
      expect(await multipart.parts(key, kept.uploadId)).toBeNull()
      expect(await multipart.parts(neighbour.key, neighbour.uploadId)).toHaveLength(2)
    })

    test('a link is refused for another part, upload or key, for another length, and once it has expired', async () => {
      const [key, other] = [newKey(), newKey()]
      const [uploadId, otherId] = [await multipart.begin(key, JPEG), await multipart.begin(key, JPEG)]
      const url = await link(key, uploadId, { size: 10 })
      for (const [what, instead] of [
        ['partNumber=1', 'partNumber=2'],
        [encodeURIComponent(uploadId), encodeURIComponent(otherId)],
        [key, other],
      ] as const)
        expect((await put(url.replace(what, instead), randomBytes(10))).status).toBe(403)
      for (const size of [9, 11]) expect(REFUSED).toContain((await put(url, randomBytes(size))).status)
      const late = await link(key, uploadId, { from: new Date(Date.now() - 5000), expiresIn: 4 })
      expect((await put(late, randomBytes(10))).status).toBe(403)
      expect(await multipart.parts(key, uploadId)).toEqual([])
      expect((await put(url, randomBytes(10))).status).toBe(200)
    })

    test('a link cannot be made to copy an object that it is not for', async () => {
      const [victim, key] = [newKey(), newKey()]
      const secret = randomBytes(1000)
      await storage.put(victim, secret, JPEG)
      const uploadId = await multipart.begin(key, JPEG)
      // Of the length that an order to copy has.
      const url = await link(key, uploadId, { size: 0 })
      const [, bucket = ''] = new URL(url).pathname.split('/')
      for (const source of [`/${bucket}/${victim}`, `${bucket}/${victim}`, `${bucket}%2F${victim}`]) {
        await put(url, new Uint8Array(), { 'x-amz-copy-source': source })
        await put(url, new Uint8Array(), { 'x-amz-copy-source': source, 'x-amz-copy-source-range': 'bytes=0-9' })
        await put(`${url}&x-amz-copy-source=${encodeURIComponent(source)}`, new Uint8Array())
      }
      const sizes = (await partsOf(key, uploadId)).map(({ size }) => size)
      expect(sizes.filter((size) => size > 0)).toEqual([])
    })

    test('an aborted signal ends every call with storage_unavailable', async () => {
      const { key, uploadId } = await uploaded()
      const parts = await partsOf(key, uploadId)
      const signal = AbortSignal.abort()
      for (const call of [
        multipart.begin(key, { ...JPEG, signal }),
        multipart.parts(key, uploadId, { signal }),
        multipart.complete(key, uploadId, parts, { signal }),
        storage.abortUploads(key, { signal }),
      ]) {
        expect(await refusal(call)).toEqual(UNAVAILABLE)
      }
      expect(await multipart.complete(key, uploadId, parts)).toBe('stored')
    })
  })
}
