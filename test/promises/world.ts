/** What several processes of the service share: a database, a store and a bus, all real, and time that can pass. */
import { ListMultipartUploadsCommand } from '@aws-sdk/client-s3'
import { Redis } from 'ioredis'
import { migrate } from '../../src/db/migrate.ts'
import type { EventBus, MediaEvent } from '../../src/events/events.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import { createRedisEventBus, EVENT_STREAM } from '../../src/events/redis.ts'
import { homes } from '../../src/media/object/object.ts'
import type { UploadLink } from '../../src/media/uploads/presigned.ts'
import { readLink } from '../../src/storage/disk/links.ts'
import { createDiskStorage } from '../../src/storage/disk/storage.ts'
import { createDiskTusStores } from '../../src/storage/disk/tus.ts'
import { prepareBucket } from '../../src/storage/s3/bucket.ts'
import { createS3Storage } from '../../src/storage/s3/storage.ts'
import { createS3TusStores } from '../../src/storage/s3/tus.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { openTemporaryFiles } from '../../src/storage/temporary.ts'
import type { TusStores } from '../../src/storage/tus.ts'
import { type Clock, shiftClock } from '../support/clock/clock.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { createBucketName, removeBucket, s3Client } from '../support/services/buckets.ts'
import { databases } from '../support/services/databases.ts'
import { createFolder } from '../support/services/folder.ts'
import { haveServices, services } from '../support/services/shared.ts'
import { type Batches, watchBatches } from './batches.ts'
import { type Arrow, watchArrows } from './witness.ts'

/** The defaults of the service. */
export const PENDING_SECONDS = 86_400
export const RETENTION_SECONDS = 30 * 86_400
export const UPLOAD_URL_SECONDS = 900
export const AUTO_COMPLETE_SECONDS = 60

export const MAX_OBJECT_BYTES = 8 * 1024 * 1024

export type World = {
  sql: Awaited<ReturnType<typeof shiftClock>>['sql']
  clock: Clock
  storage: Storage
  /** The same store, for tus uploads. */
  tusStores: TusStores
  /** The same without the shifted clock: its times are the real ones. */
  bareStorage: Storage
  events: EventBus
  /** Which calls of `sql` went together. */
  batches: Batches
  /** Puts bytes on an upload link as a client does, one that began before the link expired. Whether they were taken. */
  put(link: UploadLink, bytes: Uint8Array): Promise<boolean>
  /** Every change of a row since `clear`, as the database saw it, by object. */
  arrows(): Promise<Map<string, Arrow[]>>
  /** Every event sent since `clear`, duplicates too, by object. */
  delivered(): Promise<Map<string, MediaEvent[]>>
  /** Keys of multipart uploads that the store has under way, of all that were begun since `clear`. */
  unfinished(): Promise<string[]>
  /** Removes every object, and what is known of their past. */
  clear(): Promise<void>
  close(): Promise<void>
}

/** What the suites about the six promises run on: `describe.skipIf(!present)(name, …)`. */
export const worlds = [
  { name: 'embedded', present: true, open: () => open('PGlite', openDisk, openMemory) },
  { name: 'real', present: await haveServices(), open: () => open('Postgres', openS3, openRedis) },
] as const
export type WorldName = (typeof worlds)[number]['name']

type OpenStorage = {
  storage: Storage
  tusStores: TusStores
  put: World['put']
  /** Whether a multipart upload of this key is under way. */
  isUnfinished(key: string): Promise<boolean>
  close(): Promise<void>
}
type OpenEvents = { events: EventBus; received(): Promise<MediaEvent[]>; close(): Promise<void> }

async function open(
  databaseName: string,
  openStorage: (now: () => number) => Promise<OpenStorage>,
  openEvents: () => Promise<OpenEvents>,
): Promise<World> {
  const database = await databases.find(({ name }) => name === databaseName)?.open()
  if (database === undefined) throw new Error(`no database called ${databaseName}`)
  const { sql: bare, clock } = await shiftClock(database)
  const { sql, batches } = watchBatches(bare)
  await migrate(sql)
  const witness = await watchArrows(sql)
  const store = await openStorage(clock.now)
  const bus = await openEvents()
  const times = new Map<string, number>()
  const begun = new Set<string>()
  const delivered = new Map<string, MediaEvent[]>()
  const receive = async () => {
    for (const event of await bus.received()) {
      const { id } = event.payload
      delivered.set(id, [...(delivered.get(id) ?? []), event])
    }
    return delivered
  }
  const storage = watched(timed(store.storage, times, clock.now), begun)
  return {
    sql,
    clock,
    batches,
    storage,
    tusStores: store.tusStores,
    bareStorage: store.storage,
    events: bus.events,
    async put(link, bytes) {
      const taken = await store.put(link, bytes)
      if (taken) times.set(link.key, clock.now())
      return taken
    },
    arrows: witness.arrows,
    delivered: receive,
    async unfinished() {
      const all = await Promise.all([...begun].map(async (key) => ((await store.isUnfinished(key)) ? [key] : [])))
      return all.flat()
    },
    async clear() {
      await sql`DELETE FROM media_objects`
      for (const home of homes) await storage.removePrefix(home)
      await witness.clear()
      await receive()
      delivered.clear()
      times.clear()
      begun.clear()
    },
    async close() {
      await bus.close()
      await store.close()
      await database.close()
    },
  }
}

/** The store says when something was stored by a clock that can't be shifted, so it is said for it. */
function timed(storage: Storage, times: Map<string, number>, now: () => number): Storage {
  return {
    ...storage,
    async put(key, bytes, options) {
      times.set(key, now())
      await storage.put(key, bytes, options)
    },
    async copy(from, to, options) {
      times.set(to, now())
      await storage.copy(from, to, options)
    },
    async list(options) {
      const listed = await storage.list(options)
      return listed.map((object) => ({ ...object, lastModified: new Date(times.get(object.key) ?? now()) }))
    },
  }
}

/** Remembers the keys of multipart uploads, which a store only lists by key (MinIO of February 2026). */
function watched(storage: Storage, begun: Set<string>): Storage {
  const { multipart } = storage
  if (multipart === undefined) return storage
  const begin: typeof multipart.begin = (key, options) => {
    begun.add(key)
    return multipart.begin(key, options)
  }
  // A link that is signed for the future is refused until then.
  const signPart: typeof multipart.signPart = (key, uploadId, part) =>
    multipart.signPart(key, uploadId, { ...part, from: new Date() })
  return { ...storage, multipart: { ...multipart, begin, signPart } }
}

const LINK_SECRET = 'a secret that signs links in these tests'

async function openDisk(now: () => number): Promise<OpenStorage> {
  const folder = await createFolder()
  const disk = await createDiskStorage({
    root: folder.path,
    linkSecrets: [LINK_SECRET],
    maxBytes: MAX_OBJECT_BYTES,
    now,
  })
  return {
    storage: disk,
    tusStores: createDiskTusStores(disk),
    async put({ uploadUrl }, bytes) {
      // Valid when its PUT began, whenever that was.
      const grant = readLink(new URL(uploadUrl, 'http://localhost'), [LINK_SECRET], 0)
      if (grant === null) throw new Error('not a link of this store')
      return disk.receive(grant, [bytes]).then(
        () => true,
        () => false,
      )
    },
    isUnfinished: async () => false,
    close: folder.remove,
  }
}

async function openS3(): Promise<OpenStorage> {
  const { endpoint, region, accessKeyId, secretAccessKey } = (await services()).s3
  const credentials = { accessKeyId, secretAccessKey }
  const bucket = createBucketName()
  const config = { endpoint, publicEndpoint: endpoint, region, bucket, forcePathStyle: true, credentials }
  const storage = createS3Storage(config, await prepareBucket(config))
  const tusStores = createS3TusStores(config, MAX_OBJECT_BYTES, await openTemporaryFiles(2 * MAX_OBJECT_BYTES))
  const client = await s3Client()
  return {
    storage,
    tusStores,
    async put({ uploadUrl, headers }, bytes) {
      const answer = await fetch(uploadUrl, { method: 'PUT', headers, body: new Uint8Array(bytes) })
      const text = await answer.text()
      if (!answer.ok && answer.status !== 412) throw new Error(`PUT on a link: ${answer.status} ${text}`)
      return answer.ok
    },
    async isUnfinished(key) {
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key }))
      return Uploads.length > 0
    },
    async close() {
      client.destroy()
      storage.close()
      tusStores.close()
      await removeBucket(bucket)
    },
  }
}

async function openMemory(): Promise<OpenEvents> {
  const events = createMemoryEventBus()
  let received: MediaEvent[] = []
  events.subscribe((event) => void received.push(event))
  return {
    events,
    async received() {
      const some = received
      received = []
      return some
    },
    close: events.close,
  }
}

/** Reads the stream, which is what Redis keeps of what was sent. */
async function openRedis(): Promise<OpenEvents> {
  const url = (await services()).redisUrl
  const events = await createRedisEventBus({ url, log: createRecordingLog().log })
  const redis = new Redis(url)
  let last = (await redis.xrevrange(EVENT_STREAM, '+', '-', 'COUNT', 1))[0]?.[0] ?? '0-0'
  return {
    events,
    async received() {
      const entries = await redis.xrange(EVENT_STREAM, `(${last}`, '+')
      last = entries.at(-1)?.[0] ?? last
      return entries.map(([, [, channel, , payload]]) => {
        const event: unknown = { channel, payload: JSON.parse(payload ?? '') }
        return event as MediaEvent
      })
    },
    async close() {
      redis.disconnect()
      await events.close()
    },
  }
}
