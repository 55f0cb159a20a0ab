/**
 * Gathering: calls for statements of one kind that come at the same time go to the database as one statement. One
 * statement for 20 rows costs the service and the database a fraction of 20 statements.
 *
 * What a caller may rely on:
 * - A call that comes alone is sent at the end of the present turn of the event loop, by the statement for one call where
 *   the kind has one. While a statement of its kind is under way, calls gather, and go together when it ends: at most
 *   64, the others with the next one.
 * - A second statement of the kind begins when the one under way is older than 50 ms; there are never more than two for
 *   many calls.
 * - Each call has its own deadline, as a single statement has. A call whose time is nearly over is not sent at all; one
 *   whose time ends meanwhile is answered by itself, while the statement goes on until the deadline of its youngest
 *   call. Both are `database_unavailable`.
 * - A call fails for its own faults only. When the server says that it rolled the statement back for what was in it, the
 *   two halves go again on their own, and so on. After any other failure the outcome is unknown: nothing goes again,
 *   and each call gets the failure.
 * - Two calls for one row never share a statement: the second one goes with the next, and finds what the first one left.
 * - A row that somebody else has locked holds up nobody but its own call, which waits for it alone, for the others at
 *   most 50 ms. However many calls wait for locks, they have half of the connections at most.
 * - All kinds together leave two connections of the pool to every other statement.
 * - The record of a request shows how long that request waited. The metrics count the statement once.
 */
import { setImmediate } from 'node:timers'
import pLimit from 'p-limit'
import { Problem } from '../problem.ts'
import { beginForRequest, unrecorded } from '../telemetry/record.ts'
import { DATABASE_DEADLINE_MS, isRolledBack, outOfTime } from './connect.ts'

/** The answer for a call whose row somebody else has locked. */
export const LOCKED = Symbol('locked')

export type Kind<I, O> = {
  /**
   * One statement for all of the calls, within `ms` milliseconds: an answer for each, in their order. One that changes
   * rows must not wait for their locks: it skips what somebody else has locked.
   */
  together(items: I[], ms: number): Promise<(O | typeof LOCKED)[]>
  /** The same for one call, by a statement that may wait for a lock. Needed where `together` answers with LOCKED. */
  alone?(item: I, ms: number): Promise<O>
  /** The id of the row that a call changes. Absent for kinds that only read. */
  idOf?(item: I): string
}

export type Gather = <I, O>(kind: Kind<I, O>) => (item: I) => Promise<O>

const MOST_TOGETHER = 64
const MOST_LANES = 2
const LANE_MS = 50
const OTHERS_CONNECTIONS = 2
/** With less time than this left, a statement would hardly be answered, but might be applied. */
const NEARLY_OVER_MS = 250

type Member<I, O> = {
  item: I
  id: string | undefined
  /** By `performance.now()`. */
  dueAt: number
  resolve: (answer: O) => void
  reject: (error: unknown) => void
}

/** @param connections of the pool, which all kinds share */
export function createGather(connections: number, { deadlineMs = DATABASE_DEADLINE_MS } = {}): Gather {
  const most = Math.max(1, connections - OTHERS_CONNECTIONS)
  const slots = pLimit(most)
  const mostAlone = Math.max(1, most >> 1)
  const waitingForLocks = pLimit(mostAlone)

  return function gather<I, O>({ together, alone, idOf }: Kind<I, O>) {
    let waiting: Member<I, O>[] = []
    /** Not answered yet, oldest first. */
    const open = new Set<Member<I, O>>()
    const lanes = new Set<{ since: number }>()
    let starting = false
    let laneIsTimed = false
    let deadlineTimer: ReturnType<typeof setTimeout> | undefined

    function succeed(member: Member<I, O>, answer: O): void {
      if (close(member)) member.resolve(answer)
    }

    function fail(member: Member<I, O>, error: unknown): void {
      if (close(member)) member.reject(error)
    }

    function close(member: Member<I, O>): boolean {
      const first = open.delete(member)
      if (open.size === 0) {
        clearTimeout(deadlineTimer)
        deadlineTimer = undefined
      }
      return first
    }

    /** All deadlines are equally long, so one timer for the oldest call is enough. */
    function watchDeadlines(ms: number): void {
      deadlineTimer = setTimeout(() => {
        deadlineTimer = undefined
        const now = performance.now()
        for (const member of open) {
          if (member.dueAt > now) return watchDeadlines(member.dueAt - now)
          fail(member, outOfTime())
        }
      }, ms)
    }

    /** Begins a statement as soon as one may begin. */
    function next(defer: (start: () => void) => void): void {
      if (starting || waiting.length === 0 || lanes.size === MOST_LANES) return
      const youngest = Math.max(...[...lanes].map(({ since }) => since))
      const wait = lanes.size === 0 ? 0 : youngest + LANE_MS - performance.now()
      if (wait > 0) {
        if (laneIsTimed) return
        laneIsTimed = true
        setTimeout(() => {
          laneIsTimed = false
          next(atOnce)
        }, wait)
        return
      }
      starting = true
      defer(() => void slots(() => unrecorded(run)))
    }

    async function run(): Promise<void> {
      starting = false
      const batch = takeBatch()
      if (batch.length === 0) return
      const lane = { since: performance.now() }
      const leave = () => {
        if (lanes.delete(lane)) next(atOnce)
      }
      lanes.add(lane)
      next(atOnce)
      const [first] = batch
      if (batch.length > 1 || first === undefined || alone === undefined || waitingForLocks.activeCount === mostAlone)
        await send(batch)
      else {
        const timer = setTimeout(leave, LANE_MS)
        await waitingForLocks(() => sendAlone(first))
        clearTimeout(timer)
      }
      leave()
    }

    function takeBatch(): Member<I, O>[] {
      const batch: Member<I, O>[] = []
      const rest: Member<I, O>[] = []
      const ids = new Set<string>()
      const latest = performance.now() + NEARLY_OVER_MS
      for (const member of waiting) {
        if (!open.has(member)) continue
        const { id } = member
        if (member.dueAt < latest) fail(member, outOfTime())
        else if (batch.length === MOST_TOGETHER || (id !== undefined && ids.has(id))) rest.push(member)
        else {
          batch.push(member)
          if (id !== undefined) ids.add(id)
        }
      }
      waiting = rest
      return batch
    }

    async function send(batch: Member<I, O>[]): Promise<void> {
      const ms = Math.max(...batch.map(({ dueAt }) => dueAt)) - performance.now()
      try {
        const answers = await together(
          batch.map(({ item }) => item),
          ms,
        )
        for (const [i, member] of batch.entries()) {
          const answer = answers[i]
          if (answer === LOCKED) void waitingForLocks(() => slots(() => sendAlone(member)))
          else if (answer === undefined) fail(member, new Error('gather: a call without an answer'))
          else succeed(member, answer)
        }
      } catch (error) {
        if (batch.length === 1 || !isRolledBack(error)) {
          for (const member of batch) fail(member, error)
          return
        }
        const middle = batch.length >> 1
        for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
          const left = half.filter((member) => open.has(member))
          if (left.length > 0) await send(left)
        }
      }
    }

    async function sendAlone(member: Member<I, O>): Promise<void> {
      if (!open.has(member)) return
      const ms = member.dueAt - performance.now()
      if (ms < NEARLY_OVER_MS) return fail(member, outOfTime())
      try {
        if (alone === undefined) throw new Error('gather: this kind has no statement for one call')
        succeed(member, await alone(member.item, ms))
      } catch (error) {
        fail(member, error)
      }
    }

    return async function ask(item: I): Promise<O> {
      const end = beginForRequest('database')
      try {
        const answer = await new Promise<O>((resolve, reject) => {
          const member = { item, id: idOf?.(item), dueAt: performance.now() + deadlineMs, resolve, reject }
          open.add(member)
          waiting.push(member)
          if (deadlineTimer === undefined) watchDeadlines(deadlineMs)
          next(setImmediate)
        })
        end()
        return answer
      } catch (error) {
        end(error instanceof Problem)
        throw error
      }
    }
  }
}

function atOnce(start: () => void): void {
  start()
}
