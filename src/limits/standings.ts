/** What this replica knows of the keys' windows, so that most requests do not wait for Redis. */

/** An evicted key's next request is counted in Redis, which knows its window. */
const MOST_KEYS = 10_000

/** One key within its window. */
export type KnownStanding = {
  /** Requests that Redis has counted, as of its last answer, and those of this replica that it has not. */
  place: number
  /** Those of this replica that Redis has not counted, as far as is known here. */
  ahead: number
  /** When the window ends, by `now`. */
  readonly until: number
}

export type Standings = {
  /** Undefined when nothing is known, or the window has ended. */
  get(key: string): KnownStanding | undefined
  /** Notes Redis' answer. */
  note(key: string, answer: { place: number; msLeft: number }): void
}

/** @param now milliseconds, any epoch */
export function createStandings(now: () => number, most = MOST_KEYS): Standings {
  const known = new Map<string, KnownStanding>()

  function get(key: string): KnownStanding | undefined {
    const standing = known.get(key)
    if (standing === undefined || standing.until > now()) return standing
    known.delete(key)
    return undefined
  }

  return {
    get,

    note(key, { place, msLeft }) {
      const standing = get(key)
      if (standing !== undefined) {
        standing.place = place + standing.ahead
        return
      }
      const [oldest] = known.keys()
      if (oldest !== undefined && known.size === most) known.delete(oldest)
      known.set(key, { place, ahead: 0, until: now() + msLeft })
    },
  }
}
