/** Redis: Pub/Sub for who listens now, a capped stream for who was away. The one module that knows ioredis. */
import { Redis } from 'ioredis'
import type { Log } from '../log.ts'
import type { EventBus } from './events.ts'

/** The stream of all events; fields `channel` and `payload` (JSON). */
export const EVENT_STREAM = 'media:events'
// Trimmed roughly (`~`), in whole nodes of the stream, which costs Redis next to nothing.
const STREAM_LENGTH = 100_000
const DEADLINE_MS = 1000

export type RedisEventBus = EventBus & {
  /** Of the server; null when it does not say. */
  version(): Promise<string | null>
}

/**
 * Connects in the background and for ever again; resolves when the first attempt has ended, well or not, because
 * Redis being down must not keep the service from starting.
 */
export async function createRedisEventBus({ url, log }: { url: string; log: Log }): Promise<RedisEventBus> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: DEADLINE_MS,
    commandTimeout: DEADLINE_MS,
    // Without it, a connection that stays open and dead would be used for ever.
    socketTimeout: DEADLINE_MS,
    maxRetriesPerRequest: 1,
    // A command given while the connection is down fails at once; what is owed stays on its row.
    enableOfflineQueue: false,
    retryStrategy: (attempt) => Math.min(attempt * 100, 2000),
  })
  let connected = false
  redis.on('ready', () => {
    connected = true
  })
  // ioredis reports every failed attempt: one line an outage is enough.
  redis.on('error', (error) => {
    if (connected) log.warn({ err: error }, 'redis: connection lost')
    connected = false
  })
  await redis.connect().catch((error) => log.warn({ err: error }, 'redis: not reachable, events are kept'))

  return {
    name: 'redis',

    async publish(events) {
      const transaction = redis.multi()
      for (const { channel, payload } of events) {
        const json = JSON.stringify(payload)
        transaction.xadd(EVENT_STREAM, 'MAXLEN', '~', STREAM_LENGTH, '*', 'channel', channel, 'payload', json)
        transaction.publish(channel, json)
      }
      const results = await transaction.exec()
      if (results === null) throw new Error('redis: the transaction was discarded')
      const failed = results.find(([error]) => error !== null)
      if (failed?.[0]) throw failed[0]
    },

    async check() {
      await redis.ping()
    },

    async version() {
      const info = await redis.info('server').catch(() => '')
      return /^redis_version:(\S+)/m.exec(info)?.[1] ?? null
    },

    async close() {
      redis.disconnect()
    },
  }
}
