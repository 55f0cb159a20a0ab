import { OpenAPIHono } from '@hono/zod-openapi'
import { readStoreConfig } from '../../../src/config/config.ts'
import { problemResponse, toProblem } from '../../../src/http/request/problem-response.ts'
import { fileRoutes } from '../../../src/http/routes/files.ts'
import { createDiskStorage, type DiskStorage } from '../../../src/storage/disk/storage.ts'
import { createDiskTusStores } from '../../../src/storage/disk/tus.ts'
import { prepareBucket } from '../../../src/storage/s3/bucket.ts'
import type { S3Settings } from '../../../src/storage/s3/settings.ts'
import { createS3Storage } from '../../../src/storage/s3/storage.ts'
import { createS3TusStores } from '../../../src/storage/s3/tus.ts'
import type { Storage } from '../../../src/storage/storage.ts'
import { openTemporaryFiles } from '../../../src/storage/temporary.ts'
import type { TusStores } from '../../../src/storage/tus.ts'
import { startAlteredStore, withoutDeleteObjects } from './altered-store.ts'
import { createBucketName, removeBucket } from './buckets.ts'
import { createFolder } from './folder.ts'
import { minioAccount } from './minio.ts'
import type { ServiceControl } from './native.ts'
import { otherS3Stores } from './other-s3-stores.ts'
import { haveServices, services } from './shared.ts'

export type OpenStore = {
  storage: Storage
  /** The same store, for tus uploads of up to 64 MiB. */
  openTus?(): Promise<TusStores>
  /** Where links without an origin of their own lead. */
  origin: string
  /** Headers of clients that links to this store cannot be signed against. */
  unguarded?: string[]
  /** Lets time pass for the store. */
  later(seconds: number): Promise<void>
  /** Makes the store one that can't be used. */
  breakDown(): Promise<void>
  close(): Promise<void>
}

/** What the storage contract runs on, each time empty: `describe.skipIf(!present)(name, …)`. */
export const stores = [
  { name: 's3', present: await haveServices(), open: openS3 },
  { name: 'disk', present: true, open: openDisk },
]

/** The same, and stores that lack a call. */
export const contractStores = [
  ...stores,
  // Of `bun run store-check`.
  { name: 'given', present: process.env.STORE_CHECK_URL !== undefined, open: openGiven },
  { name: 's3 without DeleteObjects', present: await haveServices(), open: openWithoutDeleteObjects },
  ...otherS3Stores.map(({ name, present, start }) => ({ name, present, open: () => openOwn(start) })),
]

const MOST_BYTES = 64 * 1024 * 1024

export const JPEG = { contentType: 'image/jpeg' }

/** A prefix of a test's own, so that tests don't meet. */
export const newPrefix = () => `media/${crypto.randomUUID()}/`

/** Bun's toEqual takes seconds for large arrays. */
export const same = (one: Uint8Array, other: Uint8Array) => Buffer.compare(one, other) === 0

/** Settings for a bucket of a test's own, which does not exist yet. */
export async function s3Config(): Promise<S3Settings> {
  const { endpoint, region, accessKeyId, secretAccessKey } = (await services()).s3
  const credentials = { accessKeyId, secretAccessKey }
  return { endpoint, publicEndpoint: endpoint, region, bucket: createBucketName(), forcePathStyle: true, credentials }
}

async function openS3(): Promise<OpenStore> {
  return openBucket(await s3Config())
}

async function openWithoutDeleteObjects(): Promise<OpenStore> {
  const { endpoint, stop } = await startAlteredStore({ answer: withoutDeleteObjects })
  const opened = await openBucket({ ...(await s3Config()), endpoint, publicEndpoint: endpoint })
  return {
    ...opened,
    async close() {
      await opened.close()
      await stop()
    },
  }
}

/** Breaks down for good only in the sense that its name is not found any more: it is somebody's. */
async function openGiven(): Promise<OpenStore> {
  const config = readStoreConfig(process.env.STORE_CHECK_URL ?? '')
  const traits = await prepareBucket(config)
  let storage = createS3Storage(config, traits)
  return {
    get storage() {
      return storage
    },
    unguarded: traits.unguarded,
    origin: config.endpoint ?? '',
    later: (seconds) => Bun.sleep(seconds * 1000),
    async breakDown() {
      storage.close()
      storage = createS3Storage({ ...config, endpoint: 'http://127.0.0.1:9' }, traits)
    },
    async close() {
      storage.close()
      const own = createS3Storage(config, traits)
      await own.removePrefix('media/')
      own.close()
    },
  }
}

/** A store of its own process, which ends with it. */
async function openOwn(start: (folder: string) => Promise<ServiceControl>): Promise<OpenStore> {
  const folder = await createFolder()
  const { url, stop } = await start(folder.path)
  const account = { accessKeyId: minioAccount.accessKeyId, secretAccessKey: minioAccount.secretAccessKey }
  const place = { endpoint: url, publicEndpoint: url, region: minioAccount.region, forcePathStyle: true }
  const config = { ...place, bucket: createBucketName(), credentials: account }
  const traits = await prepareBucket(config)
  const storage = createS3Storage(config, traits)
  return {
    storage,
    unguarded: traits.unguarded,
    origin: url,
    later: (seconds) => Bun.sleep(seconds * 1000),
    breakDown: stop,
    async close() {
      storage.close()
      await stop()
      await folder.remove()
    },
  }
}

async function openBucket(config: S3Settings): Promise<OpenStore> {
  const storage = createS3Storage(config, await prepareBucket(config))
  return {
    storage,
    openTus: async () => createS3TusStores(config, MOST_BYTES, await openTemporaryFiles(MOST_BYTES)),
    origin: config.endpoint ?? '',
    later: (seconds) => Bun.sleep(seconds * 1000),
    breakDown: () => removeBucket(config.bucket),
    async close() {
      storage.close()
      await removeBucket(config.bucket)
    },
  }
}

/** The disk store with its routes on a free port, and its folder. */
export async function openDisk(): Promise<OpenStore & { storage: DiskStorage; root: string }> {
  const folder = await createFolder()
  let ahead = 0
  const storage = await createDiskStorage({
    root: folder.path,
    linkSecrets: ['a secret that signs links in tests'],
    maxBytes: MOST_BYTES,
    now: () => Date.now() + ahead,
  })
  const app = new OpenAPIHono()
  app.onError((error, c) => problemResponse(c, toProblem(error)))
  fileRoutes(app, storage)
  const server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: app.fetch })
  return {
    storage,
    openTus: async () => createDiskTusStores(storage),
    root: folder.path,
    origin: server.url.origin,
    async later(seconds) {
      ahead += seconds * 1000
    },
    breakDown: () => folder.remove(),
    async close() {
      await server.stop(true)
      await folder.remove()
    },
  }
}
