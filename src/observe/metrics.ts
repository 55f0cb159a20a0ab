/** Metrics for Prometheus: events are counted as they happen, gauges are read on each scrape. */
import { subscribe } from 'node:diagnostics_channel'
import { Registry } from 'prom-client'
import type { UpkeepReport } from '../media/upkeep/step.ts'
import { dependencies, type RequestRecord, STEPS_CHANNEL, type Step } from '../telemetry/record.ts'
import { createDependencyGauges, createLocalGauges, type Sources } from './gauges.ts'
import { type Instruments, instrumentsOf } from './instruments.ts'

export type Metrics = {
  request(record: RequestRecord): void
  upkeep(report: UpkeepReport): void
  /** All of them, in Prometheus' text format. */
  text(): Promise<string>
  contentType: string
}

// Scrapes within this time share one reading of the dependencies.
const FRESH_MS = 5000

// In seconds.
const REQUEST_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const STEP_BOUNDS = [0.0005, ...REQUEST_BOUNDS.slice(0, -1)]

export function createMetrics(sources: Sources): Metrics {
  const registry = new Registry()
  const instruments = instrumentsOf(registry)
  const readDependencies = fresh(sources.now, createDependencyGauges(instruments, sources))
  const readLocal = createLocalGauges(instruments, sources)
  countSteps(instruments)
  return {
    contentType: registry.contentType,
    request: countRequests(instruments),
    upkeep: countUpkeep(instruments, sources.now),
    async text() {
      await readDependencies()
      readLocal()
      return registry.metrics()
    },
  }
}

function countRequests({ counter, histogram }: Instruments): Metrics['request'] {
  const requests = histogram(
    'media_http_request_duration_seconds',
    'Time to answer a request, by route pattern and status.',
    { labelNames: ['method', 'route', 'status'], buckets: REQUEST_BOUNDS },
  )
  const received = counter('media_http_received_bytes_total', 'Bytes of request bodies.', ['route'])
  const sent = counter('media_http_sent_bytes_total', 'Bytes of answers.', ['route'])
  const passed = counter('media_limiter_passed_total', 'Requests let through uncounted because Redis did not answer.')
  return function request({ method, route, status, ms, bytesIn, bytesOut, uncounted }) {
    requests.observe({ method, route, status }, ms / 1000)
    if (bytesIn > 0) received.inc({ route }, bytesIn)
    if (bytesOut > 0) sent.inc({ route }, bytesOut)
    if (uncounted) passed.inc()
  }
}

function countSteps({ counter, histogram }: Instruments): void {
  const steps = histogram('media_dependency_duration_seconds', 'Time spent waiting for a dependency, per call.', {
    labelNames: ['dependency'],
    buckets: STEP_BOUNDS,
  })
  const failures = counter('media_dependency_failures_total', 'Calls that a dependency failed.', ['dependency'])
  // Exported from the start, so that the first failure shows as an increase.
  for (const dependency of dependencies) failures.inc({ dependency }, 0)
  subscribe(STEPS_CHANNEL, (step) => {
    const { dependency, ms, failed } = step as Step
    steps.observe({ dependency }, ms / 1000)
    if (failed) failures.inc({ dependency })
  })
}

const UPKEEP_KINDS = [
  'completed',
  'expired',
  'unclaimed',
  'retired',
  'emptied',
  'forgotten',
  'orphans',
  'placeholders',
  'published',
  'mended',
] as const

function countUpkeep({ counter, gauge }: Instruments, now: () => number): Metrics['upkeep'] {
  const runs = counter('media_upkeep_runs_total', 'Passes of upkeep, by result: ok or failed.', ['result'])
  const stepFailures = counter('media_upkeep_step_failures_total', 'Steps of upkeep not finished.', ['step'])
  const upkept = counter('media_upkeep_objects_total', 'What upkeep did, by kind.', ['kind'])
  const succeeded = gauge(
    'media_upkeep_last_success_timestamp_seconds',
    'When a pass of upkeep last did all it had to; at first, the start.',
  )
  succeeded.set(now() / 1000)
  // Exported from the start, so that the first failure shows as an increase.
  for (const result of ['ok', 'failed']) runs.inc({ result }, 0)
  for (const kind of UPKEEP_KINDS) upkept.inc({ kind }, 0)
  return function upkeep({ failed, ...counts }) {
    runs.inc({ result: failed.length === 0 ? 'ok' : 'failed' })
    for (const step of failed) stepFailures.inc({ step })
    for (const kind of UPKEEP_KINDS) upkept.inc({ kind }, counts[kind])
    if (failed.length === 0) succeeded.set(now() / 1000)
  }
}

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
