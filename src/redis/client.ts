/** Opens clients of Redis: of one server, of the master that Sentinels name, or of a cluster. */
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { bare, type RedisTarget } from './target.ts'

export type RedisClient = Redis | Cluster

type Options = {
  connectTimeout: number
  /** Absent: a command may take as long as the connection is alive. */
  commandTimeout?: number
  /** Without it, ioredis keeps using a connection that is open but dead. */
  socketTimeout: number
  maxRetriesPerRequest: number
  /** Milliseconds until the next attempt to connect; null: none. */
  retryStrategy: (attempt: number) => number | null
}

/** While there is no connection, commands fail at once. Connects by `connect()`. */
export function createClient({ url, sentinels, cluster }: RedisTarget, given: Options): RedisClient {
  const { retryStrategy, maxRetriesPerRequest, ...connection } = given
  const options = { ...given, enableOfflineQueue: false, lazyConnect: true } satisfies RedisOptions
  if (sentinels === undefined && !cluster) return new Redis(url, options)
  const { hostname, port, username, password, pathname, protocol } = new URL(url)
  const login = {
    ...(username !== '' && { username: decodeURIComponent(username) }),
    ...(password !== '' && { password: decodeURIComponent(password) }),
    ...(protocol === 'rediss:' && { tls: {} }),
  }
  if (sentinels === undefined)
    return new Cluster([{ host: bare(hostname), port: Number(port || 6379) }], {
      clusterRetryStrategy: retryStrategy,
      enableOfflineQueue: false,
      lazyConnect: true,
      slotsRefreshTimeout: given.connectTimeout,
      // A failed node is asked for no longer than a publication may take.
      maxRedirections: 4,
      redisOptions: { ...connection, ...login, maxRetriesPerRequest },
      // Certificates are for the names that nodes announce, which must not become addresses.
      ...(login.tls && { dnsLookup: (address: string, done: Found) => done(null, address) }),
    })
  const { hosts, tls, ...own } = sentinels
  return new Redis({
    ...options,
    ...login,
    db: Number(pathname.slice(1) || 0),
    name: bare(hostname),
    sentinels: hosts,
    sentinelRetryStrategy: retryStrategy,
    ...(own.username !== undefined && { sentinelUsername: own.username }),
    ...(own.password !== undefined && { sentinelPassword: own.password }),
    // For the master; the Sentinels may be reached without TLS, or the other way round.
    ...(login.tls && { enableTLSForSentinelMode: true }),
    ...(tls && { sentinelTLS: {} }),
  })
}

type Found = (error: null, address: string) => void

/** The fields of INFO, of one section or of the usual ones. */
export async function readInfo(client: RedisClient, section?: string): Promise<Map<string, string>> {
  const text = section === undefined ? await client.info() : await client.info(section)
  return new Map([...text.matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, name = '', value = '']) => [name, value]))
}

/** `standalone`, `sentinel` or `cluster`; Valkey has its own name for it. */
export function modeIn(info: Map<string, string>): string | undefined {
  return info.get('redis_mode') ?? info.get('server_mode')
}
