/** Metrics for Prometheus: events are counted as they happen, gauges are read on each scrape. */
import { subscribe } from 'node:diagnostics_channel'
import process from 'node:process'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { inTime } from '../deadline.ts'
import type { Backlog } from '../media/table/health.ts'
import type { UpkeepReport } from '../media/upkeep/step.ts'
import type { DecoderUsage } from '../pictures/decoding.ts'
import { dependencies, type RequestRecord, STEPS_CHANNEL, type Step } from '../telemetry/record.ts'
import { type Checks, works } from './checks.ts'

export type Metrics = {
  request(record: RequestRecord): void
  upkeep(report: UpkeepReport): void
  /** All of them, in Prometheus' text format. */
  text(): Promise<string>
  contentType: string
}

type Deps = {
  checks: Checks
  backlog: () => Promise<Backlog>
  uploadMemory: { budget: number; usage(): { reserved: number; waiting: number } }
  temporary: () => { limit: number; reserved: number; waiting: number }
  decoders: { usage: () => DecoderUsage }
  /** Number of open event streams. */
  eventStreams: () => number
  /** Database connections: the pool's size, and the number of queries that use or wait for one. */
  connections: { most: number; wanted(): number }
  /** Unix time in milliseconds. */
  now: () => number
}

// Scrapes within this time share one reading.
const FRESH_MS = 5000
// Prometheus times out after ten seconds, and would get no metrics at all.
const PATIENCE_MS = 2000

// In seconds.
const REQUEST_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const STEP_BOUNDS = [0.0005, ...REQUEST_BOUNDS.slice(0, -1)]

export function createMetrics({
  checks,
  backlog,
  uploadMemory,
  temporary,
  decoders,
  eventStreams,
  connections,
  now,
}: Deps): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Counter({ name, help, labelNames, registers })
  const gauge = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge({ name, help, labelNames, registers })

  const requests = new Histogram({
    name: 'media_http_request_duration_seconds',
    help: 'Time to answer a request, by route pattern and status.',
    labelNames: ['method', 'route', 'status'],
    buckets: REQUEST_BOUNDS,
    registers,
  })
  const received = counter('media_http_received_bytes_total', 'Bytes of request bodies.', ['route'])
  const sent = counter('media_http_sent_bytes_total', 'Bytes of answers.', ['route'])
  const uncounted = counter(
    'media_limiter_passed_total',
    'Requests let through uncounted because Redis did not answer.',
  )

  const steps = new Histogram({
    name: 'media_dependency_duration_seconds',
    help: 'Time spent waiting for a dependency, per call.',
    labelNames: ['dependency'],
    buckets: STEP_BOUNDS,
    registers,
  })
  const failures = counter('media_dependency_failures_total', 'Calls that a dependency failed.', ['dependency'])
  const up = gauge('media_dependency_up', 'Whether a dependency answers: 1 or 0.', ['dependency'])

  const memoryUsed = gauge('media_upload_memory_used_bytes', 'Memory reserved for the bodies of direct uploads.')
  const memoryBudget = gauge('media_upload_memory_limit_bytes', 'UPLOAD_MEMORY_BYTES.')
  const waiting = gauge('media_upload_memory_waiting', 'Direct uploads that wait for memory.')
  const roomUsed = gauge('media_temporary_used_bytes', 'Temporary folder reserved for tus uploads on their way to S3.')
  const roomLimit = gauge('media_temporary_limit_bytes', 'TEMPORARY_BYTES, or what the folder has room for; 0 on disk.')
  const roomWaiting = gauge('media_temporary_waiting', 'tus uploads that wait for the temporary folder.')
  const decoderProcesses = gauge('media_decoder_processes', 'Decoder processes, by state: busy or idle.', ['state'])
  const decoderWaiting = gauge('media_decoder_jobs_waiting', 'Pictures that wait for a decoder.')
  const decoderJobs = counter('media_decoder_jobs_total', 'Pictures given to the decoders, by outcome.', ['outcome'])
  const decoderKilled = counter('media_decoder_killed_total', 'Decoder processes that ended while they were at work.')
  const streams = gauge('media_event_streams', 'Open streams of events.')
  const pool = gauge('media_database_connections', 'Connections to the database, by state: used or free.', ['state'])
  const queued = gauge('media_database_queries_waiting', 'Queries that wait for a connection.')

  const owed = gauge('media_events_owed', 'Events not sent yet, of at most 10000 objects.')
  const owedAge = gauge('media_events_owed_oldest_seconds', 'Age of the oldest of these events.')
  const setAside = gauge('media_events_set_aside', 'Objects whose events cannot be sent; counted up to 10000.')
  const objects = gauge('media_objects', 'Objects that are not active, by status; counted up to 10000.', ['status'])
  const objectsAge = gauge('media_objects_oldest_seconds', 'How long the oldest object has had this status.', [
    'status',
  ])

  const runs = counter('media_upkeep_runs_total', 'Passes of upkeep, by result: ok or failed.', ['result'])
  const stepFailures = counter('media_upkeep_step_failures_total', 'Steps of upkeep not finished.', ['step'])
  const upkept = counter('media_upkeep_objects_total', 'What upkeep did, by kind.', ['kind'])
  const succeeded = gauge(
    'media_upkeep_last_success_timestamp_seconds',
    'When a pass of upkeep last did all it had to; at first, the start.',
  )

  const cpu = counter('process_cpu_seconds_total', 'User and system CPU time spent.')
  const resident = gauge('process_resident_memory_bytes', 'Resident memory size.')
  const startTime = gauge('process_start_time_seconds', 'Start of the process, Unix time.')

  memoryBudget.set(uploadMemory.budget)
  startTime.set(now() / 1000 - process.uptime())
  succeeded.set(now() / 1000)
  // Exported from the start, so that the first failure shows as an increase.
  for (const dependency of dependencies) failures.inc({ dependency }, 0)
  for (const result of ['ok', 'failed']) runs.inc({ result }, 0)
  for (const kind of UPKEEP_KINDS) upkept.inc({ kind }, 0)

  subscribe(STEPS_CHANNEL, (step) => {
    const { dependency, ms, failed } = step as Step
    steps.observe({ dependency }, ms / 1000)
    if (failed) failures.inc({ dependency })
  })

  function look(): void {
    const { reserved, waiting: inLine } = uploadMemory.usage()
    memoryUsed.set(reserved)
    waiting.set(inLine)
    const room = temporary()
    roomUsed.set(room.reserved)
    roomLimit.set(room.limit)
    roomWaiting.set(room.waiting)
    const decoding = decoders.usage()
    decoderProcesses.set({ state: 'busy' }, decoding.busy)
    decoderProcesses.set({ state: 'idle' }, Math.max(0, decoding.processes - decoding.busy))
    decoderWaiting.set(decoding.waiting)
    decoderJobs.reset()
    for (const [outcome, count] of Object.entries(decoding.outcomes)) decoderJobs.inc({ outcome }, count)
    decoderKilled.reset()
    decoderKilled.inc(decoding.killed)
    streams.set(eventStreams())
    const wanted = connections.wanted()
    pool.set({ state: 'used' }, Math.min(wanted, connections.most))
    pool.set({ state: 'free' }, Math.max(0, connections.most - wanted))
    queued.set(Math.max(0, wanted - connections.most))
    const { user, system } = process.cpuUsage()
    cpu.reset()
    cpu.inc((user + system) / 1e6)
    resident.set(process.memoryUsage.rss())
  }

  const ask = fresh(now, async () => {
    const [database, store, events, found] = await Promise.all([
      works(checks.database),
      works(checks.storage),
      works(checks.events),
      known(backlog()),
    ])
    for (const [dependency, answers] of Object.entries({ database, store, events }))
      up.set({ dependency }, Number(answers))
    owed.set(found?.owed ?? Number.NaN)
    owedAge.set(found?.oldestOwed ?? Number.NaN)
    setAside.set(found?.setAside ?? Number.NaN)
    for (const status of ['pending', 'deleted', 'purging'] as const)
      objects.set({ status }, found?.[status] ?? Number.NaN)
    objectsAge.set({ status: 'pending' }, found?.oldestPending ?? Number.NaN)
    objectsAge.set({ status: 'deleted' }, found?.oldestDeleted ?? Number.NaN)
  })

  return {
    contentType: registry.contentType,

    request({ method, route, status, ms, bytesIn, bytesOut, uncounted: passed }) {
      requests.observe({ method, route, status }, ms / 1000)
      if (bytesIn > 0) received.inc({ route }, bytesIn)
      if (bytesOut > 0) sent.inc({ route }, bytesOut)
      if (passed) uncounted.inc()
    },

    upkeep({ failed, ...counts }) {
      runs.inc({ result: failed.length === 0 ? 'ok' : 'failed' })
      for (const step of failed) stepFailures.inc({ step })
      for (const kind of UPKEEP_KINDS) upkept.inc({ kind }, counts[kind])
      if (failed.length === 0) succeeded.set(now() / 1000)
    },

    async text() {
      await ask()
      look()
      return registry.metrics()
    },
  }
}

const UPKEEP_KINDS = [
  'expired',
  'retired',
  'emptied',
  'forgotten',
  'orphans',
  'placeholders',
  'published',
  'mended',
] as const

/** Makes concurrent calls, and calls soon after another, share one reading. */
function fresh(now: () => number, read: () => Promise<void>): () => Promise<void> {
  let reading: Promise<void> | undefined
  let readAt = Number.NEGATIVE_INFINITY
  return function readIfStale() {
    if (reading === undefined || now() - readAt > FRESH_MS) {
      readAt = now()
      reading = read()
    }
    return reading
  }
}

/** Null for a reading that fails or takes too long: an unknown value is not exported. */
function known<T>(asked: Promise<T>): Promise<T | null> {
  return inTime(
    asked.catch(() => null),
    PATIENCE_MS,
    () => null,
  )
}
