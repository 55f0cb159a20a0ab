/** Counts in Redis, for all replicas together. */
import { Redis } from 'ioredis'
import { RateLimiterRedis } from 'rate-limiter-flexible'
import type { Log } from '../log.ts'
import { begin } from '../telemetry/record.ts'
import { allowanceOf } from './allowance.ts'
import { type Limiter, WINDOW_SECONDS } from './limits.ts'

const DEADLINE_MS = 250
// For so long nobody asks a Redis that did not answer, so that requests are not slowed.
const PASS_MS = 5000

/**
 * Connects in the background and for ever again; resolves when the first attempt has ended, well or not. While there is
 * no connection, requests pass.
 */
export async function createRedisLimiter(deps: {
  url: string
  limit: number
  log: Log
  /** Milliseconds since whenever. */
  now: () => number
}): Promise<Limiter> {
  const { url, limit, log, now } = deps
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 1000,
    commandTimeout: DEADLINE_MS,
    // Without it, a connection that stays open and dead would be used for ever.
    socketTimeout: 1000,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: (attempt) => Math.min(attempt * 100, 2000),
  })
  // Told by `take`, once an outage.
  redis.on('error', () => {})
  await redis.connect().catch(() => {})
  const counter = new RateLimiterRedis({
    storeClient: redis,
    points: limit,
    duration: WINDOW_SECONDS,
    keyPrefix: 'media:limit',
    // Who is over the limit is refused from memory: their flood does not reach Redis.
    inMemoryBlockOnConsumed: limit + 1,
  })
  let passUntil = 0
  let counting = true

  return {
    limit,

    async take(key) {
      if (now() < passUntil) return null
      // One request finds out whether Redis is back; those beside it are not to wait for that.
      if (!counting) passUntil = now() + PASS_MS
      const end = begin('limits')
      try {
        const allowance = await allowanceOf(counter.consume(key))
        if (!counting) log.info('limits: requests are counted again')
        counting = true
        passUntil = 0
        end()
        return allowance
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
