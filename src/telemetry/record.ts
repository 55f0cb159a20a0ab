/**
 * The request record: filled while the request is answered, complete when all work that it began has ended. It is the
 * only source of the request's log line, metrics and trace.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel } from 'node:diagnostics_channel'
import { isFailure } from '../problem.ts'

/** The dependencies that a request may wait for. */
export const dependencies = ['database', 'store', 'events', 'image', 'limits'] as const
export type Dependency = (typeof dependencies)[number]

/** Sizes are in bytes, times in milliseconds; `start` is a value of `performance.now()`. */
export type RequestRecord = {
  requestId: string
  /** The parent span, if the request has a traceparent (W3C Trace Context). */
  parent: TraceParent | undefined
  traceId: string | undefined
  method: string
  /** The route's pattern, never the path of the request; `unmatched` if there is none. */
  route: string
  start: number
  ms: number
  status: number
  bytesIn: number
  bytesOut: number
  /** The caller's user id. */
  userId: string | undefined
  mediaId: string | undefined
  /** Code of the problem in the answer. */
  code: string | undefined
  /** Whether the rate limiter let the request pass without counting it. */
  uncounted: boolean
  /** Cause of a failure of the service's own. */
  cause: unknown
  /** Waiting time by dependency; concurrent waits each count. */
  spent: Partial<Record<Dependency, number>>
  steps: Step[]
  /** Number of running steps; answering counts as one. */
  running: number
  /** Called once, when no step is running any more. */
  done: (record: RequestRecord) => void
}

export type TraceParent = { traceId: string; spanId: string; flags: number }
export type Step = { dependency: Dependency; start: number; ms: number; failed: boolean }

/** The channel on which every step's end is published, including steps of relay and upkeep, which have no record. */
export const STEPS_CHANNEL = 'media-service:steps'
const steps = channel(STEPS_CHANNEL)
const records = new AsyncLocalStorage<RequestRecord | undefined>()

/** Runs `answer` with this record as the current one. */
export function recording<T>(record: RequestRecord, answer: () => T): T {
  return records.run(record, answer)
}

/** Runs work that serves many requests at once, without a current record. */
export function unrecorded<T>(work: () => T): T {
  return records.run(undefined, work)
}

/** The record of the current request. */
export function currentRecord(): RequestRecord | undefined {
  return records.getStore()
}

/** Records the media object that the current request is about. */
export function concerns(mediaId: string): void {
  const record = records.getStore()
  if (record !== undefined) record.mediaId = mediaId
}

/** Counts received bytes of a body without Content-Length. */
export function received(bytes: number): void {
  const record = records.getStore()
  if (record !== undefined) record.bytesIn += bytes
}

/** Begins a step; call the result once, at its end. `failed`: whether the dependency is to blame for an error. */
export function begin(dependency: Dependency): (failed?: boolean) => void {
  const counted = beginForRequest(dependency)
  const start = performance.now()
  return function end(failed = false) {
    steps.publish({ dependency, start, ms: performance.now() - start, failed })
    counted(failed)
  }
}

/** Like `begin`, but records on the request only; the batch that does the work reports the step. */
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

/** Runs a call as a step and returns its result. A problem that the client caused does not count as a failure. */
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

/** Ends one running step of this record. */
export function ended(record: RequestRecord): void {
  record.running -= 1
  if (record.running === 0) record.done(record)
}
