/** Opens the ports: the database, store and event bus of the settings, or their embedded replacements. */
import { hkdfSync, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import type { Sql } from '../db/connect.ts'
import { parseDatabaseUrl } from '../db/url.ts'
import type { EventBus } from '../events/events.ts'
import { createMemoryEventBus } from '../events/memory.ts'
import { createRedisEventBus } from '../events/redis.ts'
import type { Limiter } from '../limits/limits.ts'
import { createMemoryLimiter } from '../limits/memory.ts'
import { createRedisLimiter } from '../limits/redis.ts'
import type { Log } from '../log.ts'
import { createDiskStorage, type DiskStorage } from '../storage/disk/storage.ts'
import { createDiskTusStores } from '../storage/disk/tus.ts'
import { prepareBucket } from '../storage/s3/bucket.ts'
import { createS3Storage } from '../storage/s3/storage.ts'
import { createS3TusStores, tusPartSizeOf } from '../storage/s3/tus.ts'
import type { Storage } from '../storage/storage.ts'
import { openTemporaryFiles } from '../storage/temporary.ts'
import { timedStorage } from '../storage/timed.ts'
import type { TusStores } from '../storage/tus.ts'
import { type DataDir, openDataDirOnce } from './data-dir.ts'
import { openDatabase } from './database.ts'
import { reachable } from './reachable.ts'

export type Ports = {
  sql: Sql
  /** Most connections to the database at once. */
  connections: number
  storage: Storage
  /** The same store, if it is the disk store, which serves its own links. */
  disk: DiskStorage | undefined
  /** The same store, for tus uploads. */
  tusStores: TusStores
  events: EventBus
  /** Absent when requests are not limited. */
  limiter: Limiter | undefined
  /** Signs links to the service itself; the same in all replicas. */
  linkSecret: string
  /** Absent when bearer tokens are not in use. */
  jwtSecret: string | undefined
  /** Whether that secret is a random one, kept in DATA_DIR, because no way to authenticate was set. */
  development: boolean
  /** Versions and traits found at start, for the log. */
  found: { database: object; storage: object; events: object }
  close: () => Promise<void>
}

type Settings = Config['ports']
type Closers = (() => void | Promise<void>)[]

/** Opens all ports and brings the schema to this version. An unreachable dependency is retried for half a minute. */
export async function openPorts(config: Config, log: Log): Promise<Ports> {
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

async function open(config: Config, log: Log, closers: Closers): Promise<Omit<Ports, 'close'>> {
  const { jwtSecret: given, jwksUrl, gatewaySecret } = config.auth
  const settings = config.ports
  const development = [given, jwksUrl, gatewaySecret].every((setting) => setting === undefined)
  const inDataDir = openDataDirOnce(settings.dataDir, closers)

  const { databaseUrl, redisUrl } = settings
  const { sql, connections, found: database, close } = await openDatabase(settings, inDataDir, log)
  closers.push(close)

  const embedded = settings.s3 === undefined || databaseUrl === undefined
  const linkSecret = linkSecretOf(config) ?? (await linkSecretIn(embedded ? await inDataDir() : undefined, log))
  const { found: store, ...stores } = await openStorage(settings, linkSecret, inDataDir, log)
  const { storage, tusStores } = stores
  closers.push(storage.close, tusStores.close)

  const redis = redisUrl ? await createRedisEventBus({ url: redisUrl, log }) : undefined
  const events = redis ?? createMemoryEventBus()
  closers.push(events.close)
  const limiter = await openLimiter(settings, log)
  if (limiter !== undefined) closers.push(limiter.close)

  const jwtSecret = development ? await (await inDataDir()).secret('auth') : given
  const found = {
    database,
    storage: store,
    events: { name: events.name, version: (await redis?.version()) ?? undefined },
  }
  return { sql, connections, ...stores, events, limiter, linkSecret, jwtSecret, development, found }
}

async function openLimiter({ rateLimitPerMinute: limit, redisUrl }: Settings, log: Log): Promise<Limiter | undefined> {
  if (limit === 0) return undefined
  return redisUrl === undefined
    ? createMemoryLimiter({ limit })
    : createRedisLimiter({ url: redisUrl, limit, log, now: Date.now })
}

async function openStorage(
  settings: Settings,
  linkSecret: string,
  inDataDir: () => Promise<DataDir>,
  log: Log,
): Promise<Pick<Ports, 'storage' | 'disk' | 'tusStores'> & { found: object }> {
  const { s3 } = settings
  if (s3 !== undefined) {
    const traits = await reachable('storage', log, () => prepareBucket(s3))
    if (traits.guardCopies) log.warn('storage: takes unsigned copies over upload links; links are signed against it')
    const { guards, unguarded } = traits
    if (guards.length > 0)
      log.warn({ headers: guards }, 'storage: takes unsigned headers over upload links; links are signed against them')
    if (unguarded.length > 0)
      log.warn(
        { headers: unguarded },
        'storage: takes unsigned headers over upload links; complete looks at the outcome',
      )
    if (!traits.enforces.once) log.warn('storage: upload links work more than once; uploads are copied on completion')
    if (!traits.enforces.checksum) log.warn('storage: does not check SHA-256; uploads that ask for it are refused')
    const temporary = await openTemporaryFiles(settings.temporaryBytes)
    const needed = 2 * tusPartSizeOf(settings.maxObjectBytes)
    if (temporary.limit < Math.max(needed, settings.temporaryBytes))
      log.warn(
        { limit: temporary.limit, needed, setting: settings.temporaryBytes },
        'tus: the temporary folder is small; TEMPORARY_BYTES is what it should hold, and two parts of an upload at least',
      )
    const tusStores = createS3TusStores(s3, settings.maxObjectBytes, temporary)
    const { endpoint = 'AWS', bucket } = s3
    const found = { name: 's3', endpoint, bucket, server: traits.server, enforces: traits.enforces }
    return { storage: timedStorage(createS3Storage(s3, traits)), disk: undefined, tusStores, found }
  }
  const dataDir = await inDataDir()
  const disk = await createDiskStorage({
    root: join(dataDir.path, 'files'),
    linkSecret,
    maxBytes: settings.maxObjectBytes,
    now: Date.now,
  })
  const found = { name: disk.name, folder: dataDir.path, enforces: disk.enforces }
  return { storage: timedStorage(disk), disk, tusStores: createDiskTusStores(disk), found }
}

/** A random link secret, stored in the data folder if there is one. */
async function linkSecretIn(dataDir: DataDir | undefined, log: Log): Promise<string> {
  if (dataDir !== undefined) return dataDir.secret('links')
  log.warn('links: set LINK_SECRET; other replicas do not accept links to renditions that this one signs')
  return randomBytes(32).toString('base64url')
}

/** A link secret that all replicas share, derived from another shared secret; undefined if there is none. */
function linkSecretOf({ auth, ports: { linkSecret, s3, databaseUrl } }: Config): string | undefined {
  if (linkSecret !== undefined) return linkSecret
  const password = databaseUrl === undefined ? '' : (parseDatabaseUrl(databaseUrl).password ?? '')
  const shared = auth.jwtSecret ?? auth.gatewaySecret ?? s3?.credentials?.secretAccessKey ?? password
  if (shared === '') return undefined
  // Derived for this purpose only (HKDF, RFC 5869), so that it reveals nothing about the other secret.
  return Buffer.from(hkdfSync('sha256', shared, '', 'links to the service itself', 32)).toString('base64url')
}
