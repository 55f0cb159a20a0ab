/** Shares the slots of the decoder pool fairly among owners and anonymous addresses. */

/** Background work: served when no other party waits. */
const UPKEEP = 'upkeep'

/** Most waiting jobs in total. A waiting job holds no bytes of a file. */
const MOST_WAITING = 256

type Waiting = { party: string; start: () => void; refuse: () => void; timer: ReturnType<typeof setTimeout> }

export type Queue = {
  /**
   * Resolves with a function that releases the slot once one is free; with undefined when none was free before `until`
   * (Unix time in milliseconds), when too many jobs wait, or when the queue was closed.
   */
  place(party: string, until: number): Promise<(() => void) | undefined>
  usage(): { busy: number; waiting: number }
  /** Refuses all waiting and all later jobs. */
  close(): void
}

/**
 * `places` jobs run at once. The next slot goes to the party with the fewest running jobs, and among equals to the one
 * served longest ago, so that one party has all slots only while no other waits.
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
    // A party without jobs is forgotten: the number of anonymous addresses is unbounded.
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

  /** When the queue is full, the party with the most waiting jobs loses its last one, even if that is the new job. */
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
        // A new party ranks before the party served last, and behind those that already waited.
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
