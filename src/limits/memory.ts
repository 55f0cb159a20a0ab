/** The rate limiter within this process, for the embedded default. */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { type Limiter, WINDOW_SECONDS } from './limits.ts'

export function createMemoryLimiter({ limit }: { limit: number }): Limiter {
  const counter = new RateLimiterMemory({ points: limit, duration: WINDOW_SECONDS })
  return {
    limit,

    async take(key) {
      try {
        return { allowed: true, ...standing(await counter.consume(key)) }
      } catch (error) {
        if (error instanceof RateLimiterRes) return { allowed: false, ...standing(error) }
        throw error
      }
    },

    async close() {},
  }
}

function standing({ remainingPoints, msBeforeNext }: RateLimiterRes) {
  return { remaining: Math.max(0, remainingPoints), resetSeconds: Math.max(1, Math.ceil(msBeforeNext / 1000)) }
}
