/** The calls of one kind: which are sent together, when, and which answer each gets. See `gather.ts` for the rules. */
import { clearTimeout, setImmediate, setTimeout } from 'node:timers'
import type { LimitFunction } from 'p-limit'
import { Problem } from '../problem.ts'
import { beginForRequest, unrecorded } from '../telemetry/record.ts'
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

/** What all kinds share: `slots` has one for each statement that runs. */
export type Shared = {
  slots: LimitFunction
  /** One for each call that may wait for a lock, at most `mostAlone`. */
  waitingForLocks: LimitFunction
  mostAlone: number
  deadlineMs: number
}

/** The calls of one kind, and the statements that run for them. */
export type Line<I, O> = Shared & {
  kind: Kind<I, O>
  waiting: Member<I, O>[]
  /** Calls that are not answered yet, oldest first. */
  open: Set<Member<I, O>>
  /** The rows of the statements that run, but for those that wait for a lock: a second call for one of them waits. */
  underWay: Set<string>
  lanes: Set<{ since: number }>
  starting: boolean
  laneIsTimed: boolean
  deadlineTimer: ReturnType<typeof setTimeout> | undefined
}

const MOST_TOGETHER = 64
const MOST_LANES = 2
const LANE_MS = 50
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

/** Resolves with the answer of one call. */
export async function ask<I, O>(line: Line<I, O>, item: I): Promise<O> {
  const end = beginForRequest('database')
  try {
    const answer = await new Promise<O>((resolve, reject) => {
      const dueAt = performance.now() + line.deadlineMs
      const member = { item, id: line.kind.idOf?.(item), dueAt, resolve, reject }
      line.open.add(member)
      line.waiting.push(member)
      if (line.deadlineTimer === undefined) watchDeadlines(line, line.deadlineMs)
      next(line, setImmediate)
    })
    end()
    return answer
  } catch (error) {
    end(error instanceof Problem)
    throw error
  }
}

/**
 * One timer, for the oldest call: all deadlines are equally long. It stays when that call has its answer, because a timer
 * for each of many quick calls costs more.
 */
function watchDeadlines<I, O>(line: Line<I, O>, ms: number): void {
  line.deadlineTimer = setTimeout(() => {
    line.deadlineTimer = undefined
    const now = performance.now()
    for (const member of line.open) {
      if (member.dueAt > now) return watchDeadlines(line, member.dueAt - now)
      fail(line, member, outOfTime())
    }
  }, ms)
  // It keeps no process alive that has no call any more.
  line.deadlineTimer.unref()
}

/** Begins a statement as soon as a slot is free. */
function next<I, O>(line: Line<I, O>, defer: (start: () => void) => void): void {
  const { lanes } = line
  if (line.starting || line.waiting.length === 0 || lanes.size === MOST_LANES) return
  const youngest = Math.max(...[...lanes].map(({ since }) => since))
  const wait = lanes.size === 0 ? 0 : youngest + LANE_MS - performance.now()
  if (wait > 0) {
    if (line.laneIsTimed) return
    line.laneIsTimed = true
    setTimeout(() => {
      line.laneIsTimed = false
      next(line, atOnce)
    }, wait)
    return
  }
  line.starting = true
  defer(() => void line.slots(() => unrecorded(() => run(line))))
}

function atOnce(start: () => void): void {
  start()
}

async function run<I, O>(line: Line<I, O>): Promise<void> {
  line.starting = false
  const batch = takeBatch(line)
  if (batch.length === 0) return
  const lane = { since: performance.now() }
  const leave = () => {
    if (!line.lanes.delete(lane)) return
    for (const { id } of batch) if (id !== undefined) line.underWay.delete(id)
    next(line, atOnce)
  }
  line.lanes.add(lane)
  next(line, atOnce)
  const { kind, waitingForLocks, mostAlone } = line
  const [first] = batch
  if (batch.length > 1 || first === undefined || kind.alone === undefined) await send(line, batch)
  // A read waits for no lock.
  else if (kind.idOf === undefined) await sendAlone(line, first)
  else if (waitingForLocks.activeCount === mostAlone) await send(line, batch)
  else {
    const timer = setTimeout(leave, LANE_MS)
    await waitingForLocks(() => sendAlone(line, first))
    clearTimeout(timer)
  }
  leave()
}

function takeBatch<I, O>(line: Line<I, O>): Member<I, O>[] {
  const batch: Member<I, O>[] = []
  const rest: Member<I, O>[] = []
  const latest = performance.now() + NEARLY_OVER_MS
  for (const member of line.waiting) {
    if (!line.open.has(member)) continue
    const { id } = member
    if (member.dueAt < latest) fail(line, member, outOfTime())
    else if (batch.length === MOST_TOGETHER || (id !== undefined && line.underWay.has(id))) rest.push(member)
    else {
      batch.push(member)
      if (id !== undefined) line.underWay.add(id)
    }
  }
  line.waiting = rest
  return batch
}

async function send<I, O>(line: Line<I, O>, batch: Member<I, O>[]): Promise<void> {
  const ms = Math.max(...batch.map(({ dueAt }) => dueAt)) - performance.now()
  try {
    const answers = await line.kind.together(
      batch.map(({ item }) => item),
      ms,
    )
    for (const [i, member] of batch.entries()) {
      const answer = answers[i]
      if (answer === LOCKED) void line.waitingForLocks(() => line.slots(() => sendAlone(line, member)))
      else if (answer === undefined) fail(line, member, new Error('gather: a call without an answer'))
      else succeed(line, member, answer)
    }
  } catch (error) {
    if (batch.length === 1 || !isRolledBack(error)) {
      for (const member of batch) fail(line, member, error)
      return
    }
    const middle = batch.length >> 1
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
      const left = half.filter((member) => line.open.has(member))
      if (left.length > 0) await send(line, left)
    }
  }
}

async function sendAlone<I, O>(line: Line<I, O>, member: Member<I, O>): Promise<void> {
  if (!line.open.has(member)) return
  const ms = member.dueAt - performance.now()
  if (ms < NEARLY_OVER_MS) return fail(line, member, outOfTime())
  try {
    if (line.kind.alone === undefined) throw new Error('gather: this kind has no statement for one call')
    succeed(line, member, await line.kind.alone(member.item, ms))
  } catch (error) {
    fail(line, member, error)
  }
}

function succeed<I, O>(line: Line<I, O>, member: Member<I, O>, answer: O): void {
  if (close(line, member)) member.resolve(answer)
}

function fail<I, O>(line: Line<I, O>, member: Member<I, O>, error: unknown): void {
  if (close(line, member)) member.reject(error)
}

function close<I, O>(line: Line<I, O>, member: Member<I, O>): boolean {
  return line.open.delete(member)
}
