import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand, UploadPartCommand } from '@aws-sdk/client-s3'
import { Upload } from '@tus/server'
import { createDiskTusStores } from '../../src/storage/disk/tus.ts'
import { prepareBucket } from '../../src/storage/s3/bucket.ts'
import { createS3Storage } from '../../src/storage/s3/storage.ts'
import { createS3TusStores } from '../../src/storage/s3/tus.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { openTemporaryFiles } from '../../src/storage/temporary.ts'
import { TUS_PART_BYTES, type TusStores, type UploadRecord, type UploadRecords } from '../../src/storage/tus.ts'
import { refusal } from '../support/http/refusal.ts'
import { removeBucket, s3Client } from '../support/services/buckets.ts'
import { haveServices } from '../support/services/shared.ts'
import { openDisk, s3Config } from '../support/services/stores.ts'

const MiB = 1024 * 1024
const SIZE = 2 * TUS_PART_BYTES + 3 * MiB
const bytes = randomBytes(SIZE)

type Opened = {
  stores: TusStores
  storage: Storage
  bucket: string
  close: () => Promise<void>
}

for (const { name, present, open } of [
  { name: 's3', present: await haveServices(), open: openS3 },
  { name: 'disk', present: true, open: openOnDisk },
]) {
  describe.skipIf(!present)(`tus uploads on ${name}`, () => {
    let opened: Opened
    let rows: Map<string, UploadRecord>
    let key: string
    beforeAll(async () => {
      opened = await open()
    }, 30_000)
    afterAll(() => opened.close(), 30_000)
    beforeEach(() => {
      rows = new Map()
      key = `media/${crypto.randomUUID()}/original.jpg`
    })

    /** A store for one request, as any replica opens one. */
    const request = (signal = new AbortController().signal) =>
      opened.stores.open({ records: onMap(rows), signal, caller: 'somebody' })
    const begin = async (size: number | null = SIZE) => {
      rows.set(key, { size, contentType: 'image/jpeg', uploadId: null, createdAt: new Date() })
      await request().create(new Upload({ id: key, offset: 0, ...(size !== null && { size }) }))
    }
    const offset = async () => (await request().getUpload(key)).offset
    /** Everything from one place to another, in a request of its own; gives the offset it came to. */
    const send = async (from: number, to: number, { store = request() } = {}) => {
      await store.getUpload(key)
      return store.write(Readable.from(inPieces(bytes.subarray(from, to))), key, from)
    }
    const stored = async () => {
      const head = await opened.storage.head(key)
      if (head === null) return null
      const read = Buffer.from(await opened.storage.read(key, { start: 0, length: head.size }))
      return { contentType: head.contentType, whole: read.equals(bytes) }
    }

    test('become the object under the key with their last byte, and nothing is there before', async () => {
      await begin()
      expect(await offset()).toBe(0)
      let at = 0
      for (const to of [MiB, 3 * MiB, 9 * MiB, 9 * MiB + 5, 18 * MiB]) {
        expect(await send(at, to)).toBe(to)
        expect(await offset()).toBe(to)
        expect(await opened.storage.head(key)).toBeNull()
        at = to
      }
      expect(await send(at, SIZE)).toBe(SIZE)
      expect(await stored()).toEqual({ contentType: 'image/jpeg', whole: true })
      expect(await offset()).toBe(SIZE)
    })

    test('may say their length at any time before the end', async () => {
      await begin(null)
      await send(0, 9 * MiB)
      const store = request()
      await store.getUpload(key)
      await store.declareUploadLength(key, SIZE)
      await store.write(Readable.from(inPieces(bytes.subarray(9 * MiB))), key, 9 * MiB)
      expect(await stored()).toMatchObject({ whole: true })
    })

    test('keep what they had when a request breaks off or is taken its upload', async () => {
      await begin()
      await send(0, 3 * MiB)
      const lost = new AbortController()
      const store = request(lost.signal)
      await store.getUpload(key)
      const source = new Readable({ read() {} })
      // The store may have let go of it by then.
      source.on('error', () => {})
      const writing = refusal(store.write(source, key, 3 * MiB))
      source.push(bytes.subarray(3 * MiB, 4 * MiB))
      await Bun.sleep(200)
      lost.abort()
      source.destroy(new Error('gone'))
      await writing
      expect(await offset()).toBeGreaterThanOrEqual(3 * MiB)
      const at = await offset()
      await send(at, SIZE)
      expect(await stored()).toMatchObject({ whole: true })
    })

    test('come to no harm when two write the same bytes, each in steps of its own', async () => {
      await begin()
      await Promise.all([send(0, 10 * MiB), send(0, 17 * MiB)])
      const at = await offset()
      expect([10 * MiB, 17 * MiB]).toContain(at)
      await send(at, SIZE)
      expect(await stored()).toMatchObject({ whole: true })
    })

    test('that nobody knows are not found', async () => {
      rows.set(key, { size: SIZE, contentType: 'image/jpeg', uploadId: 'nothing', createdAt: new Date() })
      expect(await refusal(request().assemble(key))).toMatchObject({ code: 'not_found' })
    })

    test('go with the prefix of their object', async () => {
      await begin()
      await send(0, 10 * MiB)
      await opened.storage.abortUploads(key)
      await opened.storage.removePrefix(key.slice(0, key.lastIndexOf('/') + 1))
      expect(await opened.storage.list({ prefix: key, limit: 10 })).toEqual([])
      const left = await request()
        .getUpload(key)
        .then(
          ({ offset }) => offset,
          () => null,
        )
      // S3 knows no difference between an upload that is complete and one that is gone: the bytes are looked for.
      expect([null, SIZE]).toContain(left)
      expect(await opened.storage.head(key)).toBeNull()
    })

    if (name === 's3') {
      const uploadId = async () => rows.get(key)?.uploadId ?? ''

      test('count only the parts up to one that is missing', async () => {
        await begin()
        await send(0, TUS_PART_BYTES)
        const client = await s3Client()
        const late = { Bucket: opened.bucket, Key: key, UploadId: await uploadId(), PartNumber: 3 }
        await client.send(new UploadPartCommand({ ...late, Body: bytes.subarray(2 * TUS_PART_BYTES) }))
        client.destroy()
        expect(await offset()).toBe(TUS_PART_BYTES)
        await send(TUS_PART_BYTES, 10 * MiB)
        expect(await offset()).toBe(10 * MiB)
        await send(10 * MiB, SIZE)
        expect(await stored()).toMatchObject({ whole: true })
      })

      test('have nothing beside them but what waits for the rest of its part', async () => {
        await begin()
        const beside = async () => (await opened.storage.list({ prefix: key, limit: 10 })).map(({ key }) => key)
        await send(0, 2 * MiB)
        expect(await beside()).toEqual([`${key}.part1`])
        await send(2 * MiB, TUS_PART_BYTES)
        expect(await beside()).toEqual([])
        await send(TUS_PART_BYTES, 9 * MiB)
        expect(await beside()).toEqual([`${key}.part2`])
        await send(9 * MiB, 17 * MiB)
        expect(await beside()).toEqual([`${key}.part3`])
        await send(17 * MiB, SIZE)
        expect(await beside()).toEqual([key])
      })

      test('whose parts are all there, but were not put together, are put together', async () => {
        await begin()
        await send(0, 2 * TUS_PART_BYTES)
        const client = await s3Client()
        const last = { Bucket: opened.bucket, Key: key, UploadId: await uploadId(), PartNumber: 3 }
        await client.send(new UploadPartCommand({ ...last, Body: bytes.subarray(2 * TUS_PART_BYTES) }))
        client.destroy()
        expect(await offset()).toBe(SIZE)
        await request().assemble(key)
        expect(await stored()).toEqual({ contentType: 'image/jpeg', whole: true })
      })

      test('that the store has lost are not found', async () => {
        await begin()
        const client = await s3Client()
        await client.send(
          new AbortMultipartUploadCommand({ Bucket: opened.bucket, Key: key, UploadId: await uploadId() }),
        )
        const left = await client.send(new ListMultipartUploadsCommand({ Bucket: opened.bucket, Prefix: key }))
        client.destroy()
        expect(left.Uploads ?? []).toEqual([])
        expect(await refusal(request().assemble(key))).toMatchObject({ code: 'not_found' })
      })

      test('are not lost when the store is out of order: that is an outage', async () => {
        await begin()
        const nowhere = createS3TusStores(
          { ...(await s3Config()), endpoint: 'http://127.0.0.1:9' },
          SIZE,
          await openTemporaryFiles(64 * MiB),
        )
        const store = nowhere.open({ records: onMap(rows), signal: new AbortController().signal, caller: 'somebody' })
        const outage = { code: 'storage_unavailable', kind: 'outage' }
        expect(await refusal(store.getUpload(key))).toMatchObject(outage)
        expect(await refusal(store.create(new Upload({ id: key, offset: 0, size: SIZE })))).toMatchObject(outage)
        expect(await refusal(store.assemble(key))).toMatchObject(outage)
        nowhere.close()
      })
    }
  })
}

function* inPieces(all: Uint8Array): Generator<Buffer> {
  for (let at = 0; at < all.length; at += 64 * 1024) yield Buffer.from(all.subarray(at, at + 64 * 1024))
}

function onMap(rows: Map<string, UploadRecord>): UploadRecords {
  const change = async (key: string, some: Partial<UploadRecord>) => {
    const row = rows.get(key)
    if (row === undefined) return false
    rows.set(key, { ...row, ...some })
    return true
  }
  return {
    load: async (key) => rows.get(key) ?? null,
    keepUploadId: (key, uploadId) => change(key, { uploadId }),
    declareSize: (key, size) => change(key, { size }),
  }
}

async function openS3(): Promise<Opened> {
  const config = await s3Config()
  const storage = createS3Storage(config, await prepareBucket(config))
  const stores = createS3TusStores(config, 100 * MiB, await openTemporaryFiles(64 * MiB))
  const { bucket } = config
  return {
    stores,
    storage,
    bucket,
    async close() {
      storage.close()
      stores.close()
      await removeBucket(bucket)
    },
  }
}

async function openOnDisk(): Promise<Opened> {
  const disk = await openDisk()
  return { ...disk, stores: createDiskTusStores(disk.storage), bucket: '' }
}
