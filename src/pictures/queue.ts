/** Shares the places of the decoder pool among owners and strangers. */

/** Background work: served when nobody else waits. */
const UPKEEP = 'upkeep'

/** Jobs that may wait in all. What waits holds no bytes of a file. */
const MOST_WAITING = 256

type Waiting = { party: string; start: () => void; refuse: () => void; timer: ReturnType<typeof setTimeout> }

export type Queue = {
  /**
   * Resolves with the function that gives the place back, once there is a place; with undefined when there was none until
   * `until` (Unix time in milliseconds), when too many wait, or when the queue was closed.
   */
  place(party: string, until: number): Promise<(() => void) | undefined>
  usage(): { busy: number; waiting: number }
  /** Refuses all that wait, and all that come. */
  close(): void
}

/**
 * `places` jobs run at once. The next place goes to the party with the fewest jobs running, and among equals to the one
 * served longest ago, so that one party has all places only while no other waits.
 */
export function createQueue(places: number): Queue {
  const waiting: Waiting[] = []
  const running = new Map<string, number>()
  const servedAt = new Map<string, number>()
  let busy = 0
  let turn = 0
  let closed = false

  const rank = ({ party }: Waiting): [number, number, number] => [
    party === UPKEEP ? 1 : 0,
    running.get(party) ?? 0,
    servedAt.get(party) ?? 0,
  ]

  function next(): void {
    while (busy < places && waiting.length > 0) {
      const chosen = waiting.reduce((best, other) => (before(rank(other), rank(best)) ? other : best))
      remove(chosen)
      chosen.start()
    }
  }

  function remove(job: Waiting): void {
    clearTimeout(job.timer)
    waiting.splice(waiting.indexOf(job), 1)
    // A party that is not here is forgotten: addresses of strangers are without number.
    if (!waiting.some(({ party }) => party === job.party) && !running.has(job.party)) servedAt.delete(job.party)
  }

  function take(party: string): () => void {
    busy += 1
    turn += 1
    running.set(party, (running.get(party) ?? 0) + 1)
    servedAt.set(party, turn)
    let given = false
    return function giveBack() {
      if (given) return
      given = true
      busy -= 1
      const left = (running.get(party) ?? 1) - 1
      if (left > 0) running.set(party, left)
      else running.delete(party)
      if (left === 0 && !waiting.some((job) => job.party === party)) servedAt.delete(party)
      next()
    }
  }

  /** When the queue is full, the party with the most jobs in it loses its last one, be it the newcomer's. */
  function makeRoom(party: string): boolean {
    if (waiting.length < MOST_WAITING) return true
    const counts = new Map<string, number>([[party, 1]])
    for (const job of waiting) counts.set(job.party, (counts.get(job.party) ?? 0) + 1)
    const [largest] = [...counts].reduce((most, other) => (other[1] > most[1] ? other : most))
    if (largest === party) return false
    const last = waiting.findLast((job) => job.party === largest)
    if (last === undefined) return false
    remove(last)
    last.refuse()
    return true
  }

  return {
    place(party, until) {
      if (closed) return Promise.resolve(undefined)
      if (busy < places && waiting.length === 0) return Promise.resolve(take(party))
      if (!makeRoom(party)) return Promise.resolve(undefined)
      return new Promise((resolve) => {
        const refuse = () => resolve(undefined)
        const late = () => {
          remove(job)
          refuse()
        }
        const timer = setTimeout(late, Math.max(0, until - Date.now()))
        // A newcomer comes before the party that was served last, and behind those that were waiting before.
        if (!servedAt.has(party)) servedAt.set(party, turn - 0.5)
        const job: Waiting = { party, start: () => resolve(take(party)), refuse, timer }
        waiting.push(job)
      })
    },

    usage: () => ({ busy, waiting: waiting.length }),

    close() {
      closed = true
      for (const job of waiting.slice()) {
        remove(job)
        job.refuse()
      }
    },
  }
}

function before(one: readonly number[], other: readonly number[]): boolean {
  for (const [at, value] of one.entries()) {
    const against = other[at] ?? 0
    if (value !== against) return value < against
  }
  return false
}
