/** Tokens that were found good, so that the next request with one is spared the work. */

import { hash } from 'node:crypto'
import type { Caller } from './caller.ts'

export type Verified = {
  /** Whose token this is; undefined when it was never found good, has expired since, or was forgotten. */
  callerOf(token: string): Caller | undefined
  /** @param expires Unix time in milliseconds */
  remember(token: string, caller: Caller, expires: number): void
}

/**
 * Keeps up to `size` tokens, the latest ones; of each only a SHA-256, so that nothing in memory is good for a request.
 * Only for tokens that nothing but time can make bad.
 */
export function createVerified(size: number): Verified {
  const callers = new Map<string, { caller: Caller; expires: number }>()
  return {
    callerOf(token) {
      const known = callers.get(digest(token))
      return known !== undefined && Date.now() < known.expires ? known.caller : undefined
    },
    remember(token, caller, expires) {
      callers.set(digest(token), { caller, expires })
      if (callers.size <= size) return
      for (const oldest of callers.keys()) {
        callers.delete(oldest)
        break
      }
    },
  }
}

function digest(token: string): string {
  return hash('sha256', token, 'base64url')
}
