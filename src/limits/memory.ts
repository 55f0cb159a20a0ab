/** Counts within this process, for the embedded default. */
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { allowanceOf } from './allowance.ts'
import { type Limiter, WINDOW_SECONDS } from './limits.ts'

export function createMemoryLimiter({ limit }: { limit: number }): Limiter {
  const counter = new RateLimiterMemory({ points: limit, duration: WINDOW_SECONDS })
  return {
    limit,
    take: (key) => allowanceOf(counter.consume(key)),
    async close() {},
  }
}
