import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { Upload } from '@tus/server'
import { prepareBucket } from '../../src/storage/s3/bucket.ts'
import { checksumHeader } from '../../src/storage/s3/checksums.ts'
import { createS3Storage } from '../../src/storage/s3/storage.ts'
import { createS3TusStores } from '../../src/storage/s3/tus.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { openTemporaryFiles } from '../../src/storage/temporary.ts'
import { TUS_PART_BYTES, type UploadRecord } from '../../src/storage/tus.ts'
import { type Alteration, startAlteredStore } from '../support/services/altered-store.ts'
import { removeBucket } from '../support/services/buckets.ts'
import { haveServices } from '../support/services/shared.ts'
import { newPrefix, s3Config } from '../support/services/stores.ts'

const MiB = 1024 * 1024
const md5 = (bytes: Uint8Array, as: 'hex' | 'base64' = 'base64') => createHash('md5').update(bytes).digest(as)

test.each([0, 1, MiB, MiB + 1, 3 * MiB])('the checksum of %d bytes is that of all of them', async (size) => {
  const bytes = randomBytes(size)
  expect(await checksumHeader(bytes, { crc32: false })).toEqual({ 'content-md5': md5(bytes) })
})

test('a CRC32 is written big-endian, in base64', async () => {
  // The check value of CRC-32/ISO-HDLC: cbf43926 for the digits from 1 to 9.
  const bytes = new TextEncoder().encode('123456789')
  const header = { 'x-amz-checksum-crc32': Buffer.from('cbf43926', 'hex').toString('base64') }
  expect(await checksumHeader(bytes, { crc32: true })).toEqual(header)
})

describe.skipIf(!(await haveServices()))('at a store that fills up half a body', () => {
  type Asked = Parameters<NonNullable<Alteration['answer']>>[0]
  const asked: Asked[] = []
  let config: Awaited<ReturnType<typeof s3Config>>
  let storage: Storage
  let stop: () => Promise<void>
  beforeAll(async () => {
    const altered = await startAlteredStore({
      answer(request) {
        asked.push(request)
        return undefined
      },
      fills: () => true,
    })
    stop = altered.stop
    config = { ...(await s3Config()), endpoint: altered.endpoint, publicEndpoint: altered.endpoint }
    storage = createS3Storage(config, await prepareBucket(config))
  }, 30_000)
  afterAll(async () => {
    storage.close()
    await removeBucket(config.bucket)
    await stop()
  }, 30_000)
  const crc32Of = (path: string) =>
    asked.find((request) => request.path.includes(path))?.headers.get('x-amz-checksum-crc32')
  const md5Of = (path: string) => asked.find((request) => request.path.includes(path))?.headers.get('content-md5')

  test.each([1000, 9 * MiB])('an object of %d bytes that the service stores carries its CRC32', async (size) => {
    const key = `${newPrefix()}original.jpg`
    const bytes = randomBytes(size)
    await storage.put(key, bytes, { contentType: 'image/jpeg' })
    const [crc32] = Object.values(await checksumHeader(bytes, { crc32: true }))
    expect(crc32Of(key)).toBe(crc32)
  })

  test('an object carries its MD5 where the store ignores a CRC32', async () => {
    const without = createS3Storage(config, { ...(await prepareBucket(config)), crc32: false })
    const key = `${newPrefix()}original.jpg`
    const bytes = randomBytes(1000)
    await without.put(key, bytes, { contentType: 'image/jpeg' })
    expect(md5Of(key)).toBe(md5(bytes))
    without.close()
  })

  test('parts and pieces of tus uploads carry their MD5', async () => {
    const key = `${newPrefix()}original.jpg`
    const bytes = randomBytes(TUS_PART_BYTES + 1000)
    let row: UploadRecord = {
      size: 2 * TUS_PART_BYTES,
      contentType: 'image/jpeg',
      uploadId: null,
      createdAt: new Date(),
    }
    const change = async (some: Partial<UploadRecord>) => {
      row = { ...row, ...some }
      return true
    }
    const records = {
      load: async () => row,
      keepUploadId: (_: string, uploadId: string) => change({ uploadId }),
      declareSize: (_: string, size: number) => change({ size }),
    }
    const stores = createS3TusStores(config, 100 * MiB, await openTemporaryFiles(64 * MiB))
    const store = stores.open({ records, signal: new AbortController().signal, caller: 'somebody' })
    await store.create(new Upload({ id: key, offset: 0, size: 2 * TUS_PART_BYTES }))
    await store.getUpload(key)
    await store.write(Readable.from([bytes]), key, 0)
    stores.close()
    expect(md5Of(`${key}?partNumber=1`)).toBe(md5(bytes.subarray(0, TUS_PART_BYTES)))
    expect(md5Of(`${key}.part2`)).toBe(md5(bytes.subarray(TUS_PART_BYTES)))
    await storage.abortUploads(key)
  }, 20_000)

  test('a link to a part is bound to the MD5 that it was asked for, and has to be', async () => {
    const key = `${newPrefix()}original.jpg`
    const { multipart } = storage
    if (multipart === undefined) throw new Error('no multipart uploads')
    expect(multipart.needsMd5).toBe(true)
    const uploadId = await multipart.begin(key, { contentType: 'image/jpeg' })
    const bytes = randomBytes(1000)
    const part = { partNumber: 1, size: 1000, from: new Date(), expiresIn: 60 }
    const { url, headers } = await multipart.signPart(key, uploadId, { ...part, md5: md5(bytes, 'hex') })
    const put = async (body: Uint8Array<ArrayBuffer>, sent: Record<string, string>) =>
      (await fetch(url, { method: 'PUT', body, headers: sent })).status
    expect(await put(new Uint8Array(1000), headers)).toBe(400)
    expect(await put(bytes, {})).toBe(400)
    expect(await put(bytes, { 'content-md5': md5(new Uint8Array(1000)) })).toBe(403)
    expect(await multipart.parts(key, uploadId)).toEqual([])
    expect(await put(bytes, headers)).toBe(200)
    await storage.abortUploads(key)
  })

  test('DeleteObjects carries an MD5 and no other checksum, as Backblaze B2 wants it', async () => {
    await storage.remove([`${newPrefix()}original.jpg`])
    const { headers } = asked.findLast(({ method, path }) => method === 'POST' && /[?&]delete/.test(path)) ?? {}
    expect(headers?.get('content-md5')).toMatch(/^[\w+/]{22}==$/)
    expect([...(headers?.keys() ?? [])].filter((name) => name.includes('checksum'))).toEqual([])
  })
})
