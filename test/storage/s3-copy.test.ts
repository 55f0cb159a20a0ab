import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { HeadObjectCommand, ListMultipartUploadsCommand, type S3Client } from '@aws-sdk/client-s3'
import { prepareBucket } from '../../src/storage/s3/bucket.ts'
import { createS3Copy } from '../../src/storage/s3/copy.ts'
import { createS3Storage } from '../../src/storage/s3/storage.ts'
import { refusal } from '../support/http/refusal.ts'
import { removeBucket, s3Client } from '../support/services/buckets.ts'
import { haveServices } from '../support/services/shared.ts'
import { newPrefix, type OpenStore, s3Config, same } from '../support/services/stores.ts'

const MiB = 1024 * 1024
const as = { contentType: 'video/mp4', disposition: 'inline' }
const UNAVAILABLE = expect.objectContaining({ code: 'storage_unavailable' })

describe.skipIf(!(await haveServices()))('copies of objects above what S3 copies in one call', () => {
  let storage: OpenStore['storage']
  let client: S3Client
  let bucket = ''
  const bytes = randomBytes(12 * MiB + 17)
  beforeAll(async () => {
    const config = await s3Config()
    bucket = config.bucket
    storage = createS3Storage(config, await prepareBucket(config))
    client = await s3Client()
  }, 30_000)
  afterAll(async () => {
    client.destroy()
    storage.close()
    await removeBucket(bucket)
  }, 30_000)

  // As if they were 5 GiB, and 512 MiB.
  const copy: OpenStore['storage']['copy'] = (...args) =>
    createS3Copy({ client, bucket, sizes: { most: 6 * MiB, part: 5 * MiB } })(...args)
  const original = async () => {
    const key = `${newPrefix()}original.mp4`
    await storage.put(key, bytes, { contentType: 'application/octet-stream' })
    return { key, etag: (await storage.head(key))?.etag ?? '' }
  }
  const unfinished = async (key: string) =>
    (await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key }))).Uploads ?? []

  test('are made in parts, with the type and disposition that they are given', async () => {
    const { key, etag } = await original()
    const to = key.replace('original', 'copy')
    await copy(key, to, { etag, size: bytes.length, as })
    expect(same(await storage.read(to, { start: 0, length: bytes.length + 1 }), bytes)).toBe(true)
    const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: to }))
    expect([head.ContentType, head.ContentDisposition]).toEqual(['video/mp4', 'inline'])
    // A number of parts follows the hash in the ETag of what came in parts.
    expect(head.ETag).toEndWith('-3"')
    expect(await unfinished(to)).toEqual([])
  }, 30_000)

  test('are not made of other bytes, and leave no part behind', async () => {
    const { key } = await original()
    const to = key.replace('original', 'copy')
    const other = '"00000000000000000000000000000000"'
    expect(await refusal(copy(key, to, { etag: other, size: bytes.length, as }))).toEqual(UNAVAILABLE)
    expect(await storage.head(to)).toBeNull()
    expect(await unfinished(to)).toEqual([])
  }, 30_000)

  test('end with their caller, and leave no part behind', async () => {
    const { key, etag } = await original()
    const to = key.replace('original', 'copy')
    const caller = new AbortController()
    client.middlewareStack.add(
      (next, { commandName }) =>
        async (request) => {
          if (commandName === 'UploadPartCopyCommand') caller.abort()
          return next(request)
        },
      { step: 'initialize', name: 'abort' },
    )
    try {
      const copied = copy(key, to, { etag, size: bytes.length, as, signal: caller.signal })
      expect(await refusal(copied)).toEqual(UNAVAILABLE)
    } finally {
      client.middlewareStack.remove('abort')
    }
    expect(await storage.head(to)).toBeNull()
    expect(await unfinished(to)).toEqual([])
  }, 30_000)
})
