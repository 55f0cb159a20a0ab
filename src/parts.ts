/** Opens what the settings name, or its embedded stand-in. */
import { join } from 'node:path'
import pRetry from 'p-retry'
import type { Config } from './config.ts'
import { type DataDir, openDataDir } from './data-dir.ts'
import { connect, type Sql } from './db/connect.ts'
import { migrate } from './db/migrate.ts'
import { startPGlite } from './db/pglite.ts'
import type { EventBus } from './events/events.ts'
import { createMemoryEventBus } from './events/memory.ts'
import { createRedisEventBus } from './events/redis.ts'
import type { Limiter } from './limits/limits.ts'
import { createMemoryLimiter } from './limits/memory.ts'
import { createRedisLimiter } from './limits/redis.ts'
import type { Log } from './log.ts'
import { createDiskStorage, type DiskStorage } from './storage/disk.ts'
import { createDiskTusStores } from './storage/disk-tus.ts'
import { createS3Storage } from './storage/s3.ts'
import { prepareBucket } from './storage/s3-bucket.ts'
import { createS3TusStores } from './storage/s3-tus.ts'
import type { Storage } from './storage/storage.ts'
import type { TusStores } from './storage/tus.ts'

export type Parts = {
  sql: Sql
  storage: Storage
  /** The same store again, when it is the one that serves its own links. */
  disk: DiskStorage | undefined
  /** The same store once more, for the bytes of tus uploads. */
  tusStores: TusStores
  events: EventBus
  /** Absent when requests are not limited. */
  limiter: Limiter | undefined
  /** Absent when bearer tokens are not in use. */
  jwtSecret: string | undefined
  /** Whether that secret is a random one, kept in DATA_DIR, because no way to authenticate was set. */
  development: boolean
  close: () => Promise<void>
}

type Closers = (() => void | Promise<void>)[]

/** Everything the service stands on, migrated and ready. What can't be reached is tried again for half a minute. */
export async function openParts(config: Config, log: Log): Promise<Parts> {
  const closers: Closers = []
  const close = async () => {
    for (const closer of closers.reverse()) await closer()
  }
  try {
    return { ...(await open(config, log, closers)), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function open(config: Config, log: Log, closers: Closers): Promise<Omit<Parts, 'close'>> {
  const { jwtSecret: given, jwksUrl, gatewaySecret } = config.auth
  const development = [given, jwksUrl, gatewaySecret].every((setting) => setting === undefined)
  let dataDir: DataDir | undefined
  const inDataDir = async () => {
    if (dataDir === undefined) {
      dataDir = await openDataDir(config.dataDir)
      closers.push(dataDir.close)
    }
    return dataDir
  }

  const sql = await openDatabase(config, inDataDir, closers)
  const applied = await reachable('database', log, () => migrate(sql))
  if (applied.length > 0) log.info({ applied }, 'database: migrated')

  const { storage, disk, tusStores } = await openStorage(config, inDataDir, log)
  closers.push(storage.close, tusStores.close)

  const events = config.redisUrl ? await createRedisEventBus({ url: config.redisUrl, log }) : createMemoryEventBus()
  closers.push(events.close)
  const limiter = await openLimiter(config, log)
  if (limiter !== undefined) closers.push(limiter.close)

  const jwtSecret = development ? await (await inDataDir()).secret('auth') : given
  return { sql, storage, disk, tusStores, events, limiter, jwtSecret, development }
}

async function openLimiter({ rateLimitPerMinute: limit, redisUrl }: Config, log: Log): Promise<Limiter | undefined> {
  if (limit === 0) return undefined
  return redisUrl === undefined
    ? createMemoryLimiter({ limit })
    : createRedisLimiter({ url: redisUrl, limit, log, now: Date.now })
}

async function openDatabase(
  { databaseUrl }: Config,
  inDataDir: () => Promise<DataDir>,
  closers: Closers,
): Promise<Sql> {
  if (databaseUrl !== undefined) {
    const sql = connect({ url: databaseUrl })
    closers.push(() => sql.end({ timeout: 1 }))
    return sql
  }
  const { path } = await inDataDir()
  const { socket, stop } = await startPGlite(join(path, 'postgres'))
  const sql = connect({ socket })
  closers.push(async () => {
    await sql.end({ timeout: 1 })
    await stop()
  })
  return sql
}

async function openStorage(
  config: Config,
  inDataDir: () => Promise<DataDir>,
  log: Log,
): Promise<Pick<Parts, 'storage' | 'disk' | 'tusStores'>> {
  const { s3 } = config
  if (s3 !== undefined) {
    const traits = await reachable('storage', log, () => prepareBucket(s3))
    if (traits.guardCopies) log.warn('storage: takes unsigned copies over upload links; links are signed against it')
    if (!traits.enforces.once) log.warn('storage: upload links work more than once; uploads are copied on completion')
    if (!traits.enforces.checksum) log.warn('storage: does not check SHA-256; uploads that ask for it are refused')
    const tusStores = createS3TusStores(s3, config.maxObjectBytes)
    return { storage: createS3Storage(s3, traits), disk: undefined, tusStores }
  }
  const dataDir = await inDataDir()
  const disk = await createDiskStorage({
    root: join(dataDir.path, 'files'),
    linkSecret: config.linkSecret ?? (await dataDir.secret('links')),
    maxBytes: config.maxObjectBytes,
    now: Date.now,
  })
  return { storage: disk, disk, tusStores: createDiskTusStores(disk) }
}

/** Services that start together come up in any order. */
function reachable<T>(name: string, log: Log, attempt: () => Promise<T>): Promise<T> {
  return pRetry(attempt, {
    retries: 20,
    minTimeout: 200,
    maxTimeout: 3000,
    maxRetryTime: 30_000,
    onFailedAttempt: ({ error }) => log.warn({ err: error.cause ?? error }, `${name}: not ready, trying again`),
  })
}
