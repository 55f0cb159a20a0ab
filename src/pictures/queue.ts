/** Shares the slots of the decoder pool fairly among owners and anonymous addresses. */

/** Background work: served when no other party waits. */
const UPKEEP = 'upkeep'

/** Most waiting jobs in total. A waiting job holds no bytes of a file. */
const MOST_WAITING = 256

/** Jobs of one lane run one at a time. */
export type Lane = 'heic'

type Waiting = {
  party: string
  lane: Lane | undefined
  start: () => void
  refuse: () => void
  timer: ReturnType<typeof setTimeout>
}

export type Queue = {
  /**
   * Resolves with a function that releases the slot once one is free; with undefined when none was free before `until`
   * (Unix time in milliseconds), when too many jobs wait, or when the queue was closed.
   */
  place(party: string, until: number, lane?: Lane): Promise<(() => void) | undefined>
  usage(): { busy: number; waiting: number }
  /** Refuses all waiting and all later jobs. */
  close(): void
}

/** The jobs: `running` and `servedAt` are by party, the latter in turns. `taken`: the lanes in which a job runs. */
type Line = {
  places: number
  waiting: Waiting[]
  running: Map<string, number>
  servedAt: Map<string, number>
  taken: Set<Lane>
  busy: number
  turn: number
  closed: boolean
}

/**
 * `places` jobs run at once. The next slot goes to the party with the fewest running jobs, and among equals to the one
 * served longest ago, so that one party has all slots only while no other waits.
 */
export function createQueue(places: number): Queue {
  const line: Line = {
    places,
    waiting: [],
    running: new Map(),
    servedAt: new Map(),
    taken: new Set(),
    busy: 0,
    turn: 0,
    closed: false,
  }
  return {
    place: (party, until, lane) => place(line, { party, lane }, until),
    usage: () => ({ busy: line.busy, waiting: line.waiting.length }),
    close() {
      line.closed = true
      for (const job of line.waiting.slice()) {
        remove(line, job)
        job.refuse()
      }
    },
  }
}

type Job = Pick<Waiting, 'party' | 'lane'>

async function place(line: Line, asked: Job, until: number): Promise<(() => void) | undefined> {
  const { party } = asked
  if (line.closed) return undefined
  // A job that waits while a place is free waits for its lane.
  if (line.busy < line.places && isOpen(line, asked)) return take(line, asked)
  if (!makeRoom(line, party)) return undefined
  return new Promise((resolve) => {
    const refuse = () => resolve(undefined)
    const late = () => {
      remove(line, job)
      refuse()
    }
    const timer = setTimeout(late, Math.max(0, until - Date.now()))
    // A new party ranks before the party served last, and behind those that already waited.
    if (!line.servedAt.has(party)) line.servedAt.set(party, line.turn - 0.5)
    const job: Waiting = { ...asked, start: () => resolve(take(line, asked)), refuse, timer }
    line.waiting.push(job)
  })
}

function isOpen({ taken }: Line, { lane }: Job): boolean {
  return lane === undefined || !taken.has(lane)
}

function take(line: Line, { party, lane }: Job): () => void {
  const { running, taken } = line
  if (lane !== undefined) taken.add(lane)
  line.busy += 1
  line.turn += 1
  running.set(party, (running.get(party) ?? 0) + 1)
  line.servedAt.set(party, line.turn)
  let given = false
  return function giveBack() {
    if (given) return
    given = true
    line.busy -= 1
    if (lane !== undefined) taken.delete(lane)
    const left = (running.get(party) ?? 1) - 1
    if (left > 0) running.set(party, left)
    else running.delete(party)
    forget(line, party)
    next(line)
  }
}

function next(line: Line): void {
  for (;;) {
    const open = line.busy < line.places ? line.waiting.filter((job) => isOpen(line, job)) : []
    if (open.length === 0) return
    const chosen = open.reduce((best, other) => (before(rank(line, other), rank(line, best)) ? other : best))
    remove(line, chosen)
    chosen.start()
  }
}

function remove(line: Line, job: Waiting): void {
  clearTimeout(job.timer)
  line.waiting.splice(line.waiting.indexOf(job), 1)
  forget(line, job.party)
}

/** Forgets a party without jobs: the number of anonymous addresses is unbounded. */
function forget({ waiting, running, servedAt }: Line, party: string): void {
  if (!running.has(party) && !waiting.some((job) => job.party === party)) servedAt.delete(party)
}

/** When the queue is full, the party with the most waiting jobs loses its last one, even if that is the new job. */
function makeRoom(line: Line, party: string): boolean {
  const { waiting } = line
  if (waiting.length < MOST_WAITING) return true
  const counts = new Map<string, number>([[party, 1]])
  for (const job of waiting) counts.set(job.party, (counts.get(job.party) ?? 0) + 1)
  const [largest] = [...counts].reduce((most, other) => (other[1] > most[1] ? other : most))
  if (largest === party) return false
  const last = waiting.findLast((job) => job.party === largest)
  if (last === undefined) return false
  remove(line, last)
  last.refuse()
  return true
}

function rank({ running, servedAt }: Line, { party }: Waiting): [number, number, number] {
  return [party === UPKEEP ? 1 : 0, running.get(party) ?? 0, servedAt.get(party) ?? 0]
}

function before(one: readonly number[], other: readonly number[]): boolean {
  for (const [at, value] of one.entries()) {
    const against = other[at] ?? 0
    if (value !== against) return value < against
  }
  return false
}
