/** The event bus in Redis: Pub/Sub for live consumers, a capped stream for those that were offline. */
import type { ClientContext, Result } from 'ioredis'
import pLimit from 'p-limit'
import type { Log } from '../log.ts'
import { createClient, type RedisClient } from '../redis/client.ts'
import { isRefusal } from '../redis/errors.ts'
import { openLink, type RedisLink } from '../redis/link.ts'
import { type RedisCommand, rehearse } from '../redis/rehearse.ts'
import type { RedisTarget } from '../redis/target.ts'
import { channels, type Entry, type EventBus, type MediaEvent } from './events.ts'
import { createStreamReader, type StreamAccess, type StreamConnection } from './stream-reader.ts'

/** The stream of all events; fields `channel` and `payload` (JSON). */
export const EVENT_STREAM = 'media:events'
// Trimmed approximately (`~`), in whole nodes of the stream, which costs Redis almost nothing.
const STREAM_LENGTH = 100_000
// One command for any number of events: a command costs the client more than the whole script costs Redis.
const SCRIPT = `for i = 2, #ARGV, 2 do
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'channel', ARGV[i], 'payload', ARGV[i + 1])
redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
end`
const DEADLINE_MS = 1000
const BLOCK_MS = 2000
// Many followers resume at once after a restart; publishing must not wait for their reads.
const RANGES_AT_ONCE = 2

declare module 'ioredis' {
  interface RedisCommander<Context extends ClientContext = { type: 'default' }> {
    publishEvents(stream: string, length: number, ...pairs: string[]): Result<null, Context>
  }
}

/** What publishing does. */
const PUBLISHING: readonly RedisCommand[] = [
  ['xadd', EVENT_STREAM, 'MAXLEN', '~', STREAM_LENGTH, '*', 'channel', 'photo:updated', 'payload', ''],
  ...channels.map((channel) => ['publish', channel, ''] as const),
]
/** All that the bus does, for finding out about the user's rights. */
export const EVENT_COMMANDS: readonly RedisCommand[] = [
  ...PUBLISHING,
  ['xlen', EVENT_STREAM],
  ['xrange', EVENT_STREAM, '-', '+', 'COUNT', 1],
  ['xrevrange', EVENT_STREAM, '+', '-', 'COUNT', 1],
  ['xread', 'COUNT', 1, 'STREAMS', EVENT_STREAM, '0'],
]

/**
 * Connects in the background and reconnects without end; resolves when the first attempt has succeeded or failed,
 * because the service must start even when Redis is down.
 */
export async function createRedisEventBus({ log, ...target }: RedisTarget & { log: Log }): Promise<EventBus> {
  const link = await openLink(target, DEADLINE_MS, (client) => {
    client.defineCommand('publishEvents', { numberOfKeys: 1, lua: SCRIPT })
    logOutages(client, log)
  })
  const reader = createStreamReader({ log, stream: accessTo(link) })

  return {
    name: 'redis',

    publish: createPublish(link, log),

    follow: reader.follow,

    async check() {
      try {
        const [refused] = await rehearse(link.client, PUBLISHING)
        if (refused !== undefined) throw refused.error
      } catch (error) {
        link.failed(error)
        throw error
      }
    },

    async close() {
      reader.close()
      link.close()
    },
  }
}

/** ioredis reports every failed attempt: logs one line per outage, and one more when Redis is there but refuses. */
function logOutages(client: RedisClient, log: Log): void {
  let connected = false
  let said = false
  let refused = false
  client.on('ready', () => {
    connected = true
    said = false
    refused = false
  })
  client.on('error', (error: unknown) => {
    if (connected) log.warn({ err: error }, 'redis: connection lost')
    else if (!said || (!refused && isRefusal(error)))
      log.warn({ err: error }, 'redis: not reachable, events stay in the outbox')
    said = true
    refused ||= isRefusal(error)
    connected = false
  })
}

/** The stream's commands for its reader. */
function accessTo(link: RedisLink): StreamAccess {
  const ranges = pLimit(RANGES_AT_ONCE)
  return {
    async ends() {
      const redis = link.client
      const [first, last, length] = await Promise.all([
        redis.xrange(EVENT_STREAM, '-', '+', 'COUNT', 1),
        redis.xrevrange(EVENT_STREAM, '+', '-', 'COUNT', 1),
        redis.xlen(EVENT_STREAM),
      ])
      return { first: first[0]?.[0] ?? '0-0', last: last[0]?.[0] ?? '0-0', trimmed: length >= STREAM_LENGTH }
    },
    range: (from, to, count) =>
      ranges(async () => (await link.client.xrange(EVENT_STREAM, `(${from}`, to, 'COUNT', count)).map(toEntry)),
    connect: () => connectReader(link.target),
  }
}

/**
 * Returns a function that publishes events in order, by a script; on a Redis that refuses scripts (by ACL, or a hosted
 * one with EVAL renamed) by a transaction, until the next connection.
 */
function createPublish(link: RedisLink, log: Log) {
  /** The client that refused scripts, until its next connection. */
  let refusing: RedisClient | undefined
  let said = false

  return async function publish(events: readonly MediaEvent[]): Promise<void> {
    if (events.length === 0) return
    const pairs = events.flatMap(({ channel, payload }) => [channel, JSON.stringify(payload)])
    try {
      await send(link.client, pairs)
    } catch (error) {
      link.failed(error)
      throw error
    }
  }

  async function send(redis: RedisClient, pairs: string[]): Promise<void> {
    if (refusing === redis) return inTransaction(redis, pairs)
    try {
      await redis.publishEvents(EVENT_STREAM, STREAM_LENGTH, ...pairs)
    } catch (error) {
      if (!refusesScripts(error)) throw error
      refusing = redis
      redis.once('ready', () => {
        refusing = undefined
      })
      if (!said)
        log.warn({ err: error }, 'redis: scripts are not allowed; events are sent by transactions, which cost more')
      said = true
      await inTransaction(redis, pairs)
    }
  }

  async function inTransaction(redis: RedisClient, pairs: string[]): Promise<void> {
    const transaction = redis.multi()
    for (let i = 0; i < pairs.length; i += 2) {
      const [channel = '', payload = ''] = pairs.slice(i, i + 2)
      transaction.xadd(EVENT_STREAM, 'MAXLEN', '~', STREAM_LENGTH, '*', 'channel', channel, 'payload', payload)
      transaction.publish(channel, payload)
    }
    const results = await transaction.exec()
    if (results === null) throw new Error('redis: the transaction was discarded')
    const failed = results.find(([error]) => error !== null)
    if (failed?.[0]) throw failed[0]
  }
}

/** Whether the server refused the script; no part of it has run then. */
function refusesScripts(error: unknown): boolean {
  return error instanceof Error && /^NOPERM|^ERR unknown command/i.test(error.message)
}

/** A connection for blocking calls; the caller opens another when it breaks. */
async function connectReader(target: RedisTarget): Promise<StreamConnection> {
  const redis = createClient(target, {
    connectTimeout: DEADLINE_MS,
    // Longer than a blocking call, so that only a dead connection times out.
    socketTimeout: BLOCK_MS + DEADLINE_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  // Every failure also rejects a call.
  redis.on('error', () => {})
  try {
    await redis.connect()
  } catch (error) {
    redis.disconnect()
    throw error
  }
  return {
    async next(from, count) {
      const found = await redis.xread('COUNT', count, 'BLOCK', BLOCK_MS, 'STREAMS', EVENT_STREAM, from)
      return found?.flatMap(([, entries]) => entries.map(toEntry)) ?? []
    },
    close: () => redis.disconnect(),
  }
}

/** Parses an entry; null for foreign data, since other clients may write to the stream. */
function toEntry([id, fields]: [id: string, fields: string[]]): [string, Entry | null] {
  const [, channel, , payload = ''] = fields
  const known = channels.find((name) => name === channel)
  try {
    const parsed = JSON.parse(payload)
    const whole = known !== undefined && typeof parsed?.userId === 'string'
    return [id, whole ? { id, event: { channel: known, payload: parsed } } : null]
  } catch {
    return [id, null]
  }
}
