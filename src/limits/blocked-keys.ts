/** A cache of the keys that are over the limit, so that their requests do not reach Redis. */

/** More keys are over the limit only in an attack; an evicted key is counted in Redis again. */
const MOST_KEYS = 10_000

export type BlockedKeys = {
  /** Milliseconds until the key is below its limit again; 0 when it is not blocked. */
  msLeft(key: string): number
  block(key: string, ms: number): void
}

/** @param now milliseconds, any epoch */
export function createBlockedKeys(now: () => number, most = MOST_KEYS): BlockedKeys {
  const untilByKey = new Map<string, number>()
  return {
    msLeft(key) {
      const until = untilByKey.get(key)
      if (until === undefined) return 0
      const ms = until - now()
      if (ms > 0) return ms
      untilByKey.delete(key)
      return 0
    },

    block(key, ms) {
      const [oldest] = untilByKey.keys()
      if (oldest !== undefined && untilByKey.size === most) untilByKey.delete(oldest)
      untilByKey.set(key, now() + ms)
    },
  }
}
