/** What `rate-limiter-flexible` says, in the words of the port. */
import { RateLimiterRes } from 'rate-limiter-flexible'
import type { Allowance } from './limits.ts'

/** Throws what is no answer but a failure to count. */
export async function allowanceOf(consumed: Promise<RateLimiterRes>): Promise<Allowance> {
  try {
    return { allowed: true, ...standing(await consumed) }
  } catch (error) {
    if (error instanceof RateLimiterRes) return { allowed: false, ...standing(error) }
    throw error
  }
}

function standing({ remainingPoints, msBeforeNext }: RateLimiterRes) {
  return { remaining: Math.max(0, remainingPoints), resetSeconds: Math.max(1, Math.ceil(msBeforeNext / 1000)) }
}
