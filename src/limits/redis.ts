/** The rate limiter in Redis, which counts for all replicas together. */
import { type ClientContext, Redis, type Result } from 'ioredis'
import type { Log } from '../log.ts'
import { begin, beginForRequest, unrecorded } from '../telemetry/record.ts'
import { createBlockedKeys } from './blocked-keys.ts'
import { gatherCounts, type Standing } from './gather-counts.ts'
import { type Allowance, type Limiter, WINDOW_SECONDS } from './limits.ts'

const DEADLINE_MS = 250
// After a failed call, Redis is not asked for this long, so that an outage does not slow requests down.
const PASS_MS = 5000
const PREFIX = 'media:limit:'
// A key's window begins with its first request. A key without an expiry, which nothing here creates, is given one.
const SCRIPT = `local standings = {}
for i, key in ipairs(KEYS) do
  local place = redis.call('INCRBY', key, ARGV[i + 1])
  local left = redis.call('PTTL', key)
  if left < 0 then
    left = tonumber(ARGV[1])
    redis.call('PEXPIRE', key, left)
  end
  standings[2 * i - 1] = place
  standings[2 * i] = left
end
return standings`

declare module 'ioredis' {
  interface RedisCommander<Context extends ClientContext = { type: 'default' }> {
    /** `given`: the keys (as many as `keys`), then the window in milliseconds, then the number to add to each key. */
    countRequests(keys: number, given: (string | number)[]): Result<number[], Context>
  }
}

/**
 * Connects in the background and reconnects without end; resolves when the first attempt has succeeded or failed. While
 * there is no connection, requests pass.
 */
export async function createRedisLimiter(deps: {
  url: string
  limit: number
  log: Log
  /** Milliseconds, any epoch. */
  now: () => number
}): Promise<Limiter> {
  const { url, limit, log, now } = deps
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 1000,
    commandTimeout: DEADLINE_MS,
    // Without it, ioredis keeps using a connection that is open but dead.
    socketTimeout: 1000,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: (attempt) => Math.min(attempt * 100, 2000),
  })
  redis.defineCommand('countRequests', { lua: SCRIPT })
  // `take` logs each outage, once.
  redis.on('error', () => {})
  await redis.connect().catch(() => {})
  const count = gatherCounts((counts) => unrecorded(() => send(redis, counts)))
  const blocked = createBlockedKeys(now)
  let passUntil = 0
  let counting = true

  return {
    limit,

    async take(key) {
      if (now() < passUntil) return null
      const blockedMs = blocked.msLeft(key)
      if (blockedMs > 0) return allowanceAt({ place: limit + 1, msLeft: blockedMs }, limit)
      // One request finds out whether Redis is back; concurrent ones do not wait for it.
      if (!counting) passUntil = now() + PASS_MS
      const end = beginForRequest('limits')
      try {
        const standing = await count(key)
        if (!counting) log.info('limits: requests are counted again')
        counting = true
        passUntil = 0
        end()
        if (standing.place > limit) blocked.block(key, standing.msLeft)
        return allowanceAt(standing, limit)
      } catch (error) {
        end(true)
        if (counting) log.warn({ err: error }, 'limits: Redis does not answer, requests pass without being counted')
        counting = false
        passUntil = now() + PASS_MS
        return null
      }
    },

    async close() {
      redis.disconnect()
    },
  }
}

/** One step for the metrics, regardless of the number of requests. */
async function send(redis: Redis, counts: ReadonlyMap<string, number>): Promise<Standing[]> {
  const end = begin('limits')
  try {
    const keys = [...counts.keys()].map((key) => PREFIX + key)
    const figures = await redis.countRequests(keys.length, [...keys, WINDOW_SECONDS * 1000, ...counts.values()])
    end()
    return keys.map((_, i) => ({ place: Number(figures[2 * i]), msLeft: Number(figures[2 * i + 1]) }))
  } catch (error) {
    end(true)
    throw error
  }
}

function allowanceAt({ place, msLeft }: Standing, limit: number): Allowance {
  return {
    allowed: place <= limit,
    remaining: Math.max(0, limit - place),
    resetSeconds: Math.max(1, Math.ceil(msLeft / 1000)),
  }
}
