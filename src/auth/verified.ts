/** A cache of verified tokens, so that the next request with the same token skips the verification. */

import { hash } from 'node:crypto'
import type { Caller } from './caller.ts'

export type Verified = {
  /** The caller of this token; undefined when it was never verified, has expired, or was evicted. */
  callerOf(token: string): Caller | undefined
  /** @param expires Unix time in milliseconds */
  remember(token: string, caller: Caller, expires: number): void
}

/**
 * Keeps the latest `size` tokens, only as their SHA-256, so that memory holds no usable token. For tokens that become
 * invalid only by expiring.
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
