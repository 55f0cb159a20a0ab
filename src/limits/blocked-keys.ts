/** Keys over the limit, so that their flood does not reach Redis. */

/** More than are over the limit at once but in an attack; what is forgotten is counted in Redis as before. */
const MOST_KEYS = 10_000

export type BlockedKeys = {
  /** Milliseconds for which the key is still over its limit; 0 when it is not. */
  msLeft(key: string): number
  block(key: string, ms: number): void
}

/** @param now milliseconds of any epoch */
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
