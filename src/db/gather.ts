/**
 * Gathering: concurrent calls for statements of one kind go to the database as one batch statement. One statement for
 * 20 rows costs the service and the database a fraction of 20 statements.
 *
 * Guarantees for callers:
 * - A single call is sent at the end of the current turn of the event loop, by the statement for one call if the kind
 *   has one. While a statement of its kind runs, calls gather and are sent together when it ends: at most 64, the rest
 *   with the next statement.
 * - A second batch of the kind begins when the running one is older than 50 ms; there are never more than two at once.
 * - Each call has its own deadline, like a single statement. A call whose deadline is near is not sent at all; a call
 *   that misses its deadline fails on its own, while the statement runs on until the deadline of its youngest call.
 *   Both get `database_unavailable`.
 * - A call fails for its own faults only. When the server rolled the batch back because of its data, each half is sent
 *   again by itself, and so on. After any other failure the outcome is unknown: nothing is repeated, and every call
 *   gets the failure.
 * - Two calls for one row never share a statement: the second goes with the next one and sees the result of the first.
 * - A row locked by another transaction delays only its own call, which then waits for the lock in a statement of its
 *   own; the other calls of the batch are delayed by at most 50 ms. Calls that wait for locks use at most half of the
 *   connections.
 * - All kinds together leave two connections of the pool for all other statements.
 * - The record of a request shows how long that request waited. The metrics count the statement once.
 */
import { setImmediate } from 'node:timers'
import pLimit from 'p-limit'
import { Problem } from '../problem.ts'
import { beginForRequest, unrecorded } from '../telemetry/record.ts'
import { DATABASE_DEADLINE_MS } from './connect.ts'
import { isRolledBack, outOfTime } from './errors.ts'

/** The answer for a call whose row is locked by another transaction. */
export const LOCKED = Symbol('locked')

export type Kind<I, O> = {
  /**
   * One statement for all of the calls, within `ms` milliseconds: one answer for each, in their order. A statement that
   * changes rows must not wait for locks: it skips locked rows (SKIP LOCKED).
   */
  together(items: I[], ms: number): Promise<(O | typeof LOCKED)[]>
  /** The same for one call, by a statement that may wait for a lock. Required if `together` may answer LOCKED. */
  alone?(item: I, ms: number): Promise<O>
  /** The id of the row that a call changes. Absent for kinds that only read. */
  idOf?(item: I): string
}

export type Gather = <I, O>(kind: Kind<I, O>) => (item: I) => Promise<O>

const MOST_TOGETHER = 64
const MOST_LANES = 2
const LANE_MS = 50
const OTHERS_CONNECTIONS = 2
/** With less time than this left, a statement would probably miss its deadline, but might still be applied. */
const NEARLY_OVER_MS = 250

type Member<I, O> = {
  item: I
  id: string | undefined
  /** By `performance.now()`. */
  dueAt: number
  resolve: (answer: O) => void
  reject: (error: unknown) => void
}

/** @param connections size of the pool, which all kinds share */
export function createGather(connections: number, { deadlineMs = DATABASE_DEADLINE_MS } = {}): Gather {
  const most = Math.max(1, connections - OTHERS_CONNECTIONS)
  const slots = pLimit(most)
  const mostAlone = Math.max(1, most >> 1)
  const waitingForLocks = pLimit(mostAlone)

  return function gather<I, O>({ together, alone, idOf }: Kind<I, O>) {
    let waiting: Member<I, O>[] = []
    /** Calls that are not answered yet, oldest first. */
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

    /** One timer, for the oldest call: all deadlines are equally long. */
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

    /** Begins a statement as soon as a slot is free. */
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
