/**
 * What one request did: gathered while it is answered, and complete when everything it began has ended. The one source
 * of its line in the log, its metrics and its trace.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel } from 'node:diagnostics_channel'
import { isFailure } from '../problem.ts'

/** What a request waits for outside of this process' own code. */
export const dependencies = ['database', 'store', 'events', 'image', 'limits'] as const
export type Dependency = (typeof dependencies)[number]

/** Sizes are in bytes, times in milliseconds; `start` is one of `performance.now()`. */
export type RequestRecord = {
  requestId: string
  /** The caller's place in a trace, if the gateway says (W3C Trace Context). */
  parent: TraceParent | undefined
  traceId: string | undefined
  method: string
  /** As the route is written, never the path of the request; `unmatched` where there is none. */
  route: string
  start: number
  ms: number
  status: number
  bytesIn: number
  bytesOut: number
  /** Who called. */
  userId: string | undefined
  mediaId: string | undefined
  /** Of the problem that was answered. */
  code: string | undefined
  /** Whether it passed the limiter without being counted. */
  uncounted: boolean
  /** What a failure of the service's own came from. */
  cause: unknown
  /** Time spent waiting, by what for; waits at the same time count each. */
  spent: Partial<Record<Dependency, number>>
  steps: Step[]
  /** Answering counts as one. */
  running: number
  /** Called once, when nothing is running any more. */
  done: (record: RequestRecord) => void
}

export type TraceParent = { traceId: string; spanId: string; flags: number }
export type Step = { dependency: Dependency; start: number; ms: number; failed: boolean }

/** Every step's end is told here, also of those that no request began: relay and upkeep have no record. */
export const STEPS_CHANNEL = 'media-service:steps'
const steps = channel(STEPS_CHANNEL)
const records = new AsyncLocalStorage<RequestRecord | undefined>()

/** Runs `answer` so that whatever it does counts for this record. */
export function recording<T>(record: RequestRecord, answer: () => T): T {
  return records.run(record, answer)
}

/** Runs what serves many requests at once, so that it counts for none of them. */
export function unrecorded<T>(work: () => T): T {
  return records.run(undefined, work)
}

/** The record of the request under way. */
export function currentRecord(): RequestRecord | undefined {
  return records.getStore()
}

/** Says which media object the request under way is about. */
export function concerns(mediaId: string): void {
  const record = records.getStore()
  if (record !== undefined) record.mediaId = mediaId
}

/** Counts what came of a body that did not announce its length. */
export function received(bytes: number): void {
  const record = records.getStore()
  if (record !== undefined) record.bytesIn += bytes
}

/** Begins to wait for a dependency; the result is to be called once, at the end. `failed`: the dependency is to blame. */
export function begin(dependency: Dependency): (failed?: boolean) => void {
  const counted = beginForRequest(dependency)
  const start = performance.now()
  return function end(failed = false) {
    steps.publish({ dependency, start, ms: performance.now() - start, failed })
    counted(failed)
  }
}

/** The same for a wait that counts for the request only, because the step itself is told by what does it for many. */
export function beginForRequest(dependency: Dependency): (failed?: boolean) => void {
  const record = records.getStore()
  if (record === undefined) return nothing
  const start = performance.now()
  record.running += 1
  return function end(failed = false) {
    const ms = performance.now() - start
    record.spent[dependency] = (record.spent[dependency] ?? 0) + ms
    record.steps.push({ dependency, start, ms, failed })
    ended(record)
  }
}

function nothing(): void {}

/** What the call gives or throws, as a step. Problems that are the client's are no failures. */
export async function timed<T>(dependency: Dependency, call: () => Promise<T>): Promise<T> {
  const end = begin(dependency)
  try {
    const result = await call()
    end()
    return result
  } catch (error) {
    end(isFailure(error))
    throw error
  }
}

/** One thing less is running for this record. */
export function ended(record: RequestRecord): void {
  record.running -= 1
  if (record.running === 0) record.done(record)
}
