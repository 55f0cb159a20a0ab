/** Opens the ports: the database, store and event bus of the settings, or their embedded replacements. */
import { hkdfSync, randomBytes } from 'node:crypto'
import type { Config } from '../config/config.ts'
import type { Sql } from '../db/connect.ts'
import { parseDatabaseUrl } from '../db/url.ts'
import type { EventBus } from '../events/events.ts'
import { findingsAbout, sentenceOf } from '../finding.ts'
import type { Limiter } from '../limits/limits.ts'
import type { Log } from '../log.ts'
import type { Secrets } from '../secrets.ts'
import type { DiskStorage } from '../storage/disk/storage.ts'
import type { Storage } from '../storage/storage.ts'
import type { TusStores } from '../storage/tus.ts'
import { type DataDir, openDataDirOnce } from './data-dir.ts'
import { openDatabase } from './database.ts'
import { openBuses } from './redis.ts'
import { openStore } from './store.ts'

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
  /** Of links to the service itself; the same in all replicas. */
  linkSecrets: Secrets
  /** Of bearer tokens; absent when none are signed with a shared secret. */
  jwtSecrets: Secrets | undefined
  /** Whether that secret is a random one, kept in DATA_DIR, because no way to authenticate was set. */
  development: boolean
  /** Versions and traits found at start, for the log. */
  found: { database: object; storage: object; events: object }
  close: () => Promise<void>
}

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
  const { jwtSecrets: given, jwksUrl, gatewaySecrets, discovers } = config.auth
  const settings = config.ports
  const development = !discovers && [given, jwksUrl, gatewaySecrets].every((setting) => setting === undefined)
  const inDataDir = openDataDirOnce(settings.dataDir, closers)

  const { databaseUrl } = settings
  const { sql, connections, found: database, close } = await openDatabase(settings, inDataDir, log)
  closers.push(close)

  const embedded = settings.s3 === undefined || databaseUrl === undefined
  const linkSecrets = linkSecretsOf(config) ?? [await linkSecretIn(embedded ? await inDataDir() : undefined, log)]
  const { found: store, ...stores } = await openStore(config, { linkSecrets, inDataDir, log })
  const { storage, tusStores } = stores
  closers.push(storage.close, tusStores.close)

  const { events, limiter, found: redis } = await openBuses(settings, log, closers)

  const jwtSecrets: Secrets | undefined = development ? [await (await inDataDir()).secret('auth')] : given
  const found = {
    database,
    storage: store,
    events: redis,
  }
  return { sql, connections, ...stores, events, limiter, linkSecrets, jwtSecrets, development, found }
}

export const NO_LINK_SECRET = findingsAbout('settings').warning(
  'LINK_SECRET',
  'not set, so other replicas do not accept links to renditions that one of them signs',
  'set it to the same 32 random characters for all of them',
)

/** A random link secret, stored in the data folder if there is one. */
async function linkSecretIn(dataDir: DataDir | undefined, log: Log): Promise<string> {
  if (dataDir !== undefined) return dataDir.secret('links')
  log.warn(`links: ${sentenceOf(NO_LINK_SECRET)}`)
  return randomBytes(32).toString('base64url')
}

/** Link secrets that all replicas share, derived from other shared secrets; undefined if there are none. */
export function linkSecretsOf({ auth, ports: { linkSecrets, s3, databaseUrl } }: Config): Secrets | undefined {
  if (linkSecrets !== undefined) return linkSecrets
  const password = databaseUrl === undefined ? '' : (parseDatabaseUrl(databaseUrl).password ?? '')
  const [first = '', ...more] = auth.jwtSecrets ?? auth.gatewaySecrets ?? [s3?.credentials?.secretAccessKey ?? password]
  return first === '' ? undefined : [linkSecretFrom(first), ...more.map(linkSecretFrom)]
}

/** Derived for this purpose only (HKDF, RFC 5869), so that it reveals nothing about the other secret. */
function linkSecretFrom(shared: string): string {
  return Buffer.from(hkdfSync('sha256', shared, '', 'links to the service itself', 32)).toString('base64url')
}
