/** What is read on each scrape: the process's own state, and that of its dependencies. */
import process from 'node:process'
import { inTime } from '../deadline.ts'
import type { Backlog } from '../media/table/health.ts'
import type { DecoderUsage } from '../pictures/decoding.ts'
import { type Checks, works } from './checks.ts'
import type { Instruments } from './instruments.ts'

export type Sources = {
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

// Prometheus times out after ten seconds, and would get no metrics at all.
const PATIENCE_MS = 2000

/** Everything that is known in this process; returns the function that reads it. */
export function createLocalGauges(instruments: Instruments, sources: Sources): () => void {
  const readings = [
    uploadMemory(instruments, sources),
    temporaryRoom(instruments, sources),
    decoders(instruments, sources),
    streamsAndConnections(instruments, sources),
    ownProcess(instruments, sources),
  ]
  return function read() {
    for (const reading of readings) reading()
  }
}

function uploadMemory({ gauge }: Instruments, { uploadMemory: { budget, usage } }: Sources): () => void {
  const used = gauge('media_upload_memory_used_bytes', 'Memory reserved for the bodies of direct uploads.')
  const limit = gauge('media_upload_memory_limit_bytes', 'UPLOAD_MEMORY_BYTES.')
  const inLine = gauge('media_upload_memory_waiting', 'Direct uploads that wait for memory.')
  limit.set(budget)
  return () => {
    const { reserved, waiting } = usage()
    used.set(reserved)
    inLine.set(waiting)
  }
}

function temporaryRoom({ gauge }: Instruments, { temporary }: Sources): () => void {
  const used = gauge('media_temporary_used_bytes', 'Temporary folder reserved for tus uploads on their way to S3.')
  const room = gauge('media_temporary_limit_bytes', 'TEMPORARY_BYTES, or what the folder has room for; 0 on disk.')
  const inLine = gauge('media_temporary_waiting', 'tus uploads that wait for the temporary folder.')
  return () => {
    const { reserved, limit, waiting } = temporary()
    used.set(reserved)
    room.set(limit)
    inLine.set(waiting)
  }
}

function decoders({ counter, gauge }: Instruments, { decoders: { usage } }: Sources): () => void {
  const processes = gauge('media_decoder_processes', 'Decoder processes, by state: busy or idle.', ['state'])
  const inLine = gauge('media_decoder_jobs_waiting', 'Pictures that wait for a decoder.')
  const jobs = counter('media_decoder_jobs_total', 'Pictures given to the decoders, by outcome.', ['outcome'])
  const ended = counter('media_decoder_killed_total', 'Decoder processes that ended while they were at work.')
  return () => {
    const { busy, processes: all, waiting, outcomes, killed } = usage()
    processes.set({ state: 'busy' }, busy)
    processes.set({ state: 'idle' }, Math.max(0, all - busy))
    inLine.set(waiting)
    jobs.reset()
    for (const [outcome, count] of Object.entries(outcomes)) jobs.inc({ outcome }, count)
    ended.reset()
    ended.inc(killed)
  }
}

function streamsAndConnections({ gauge }: Instruments, { eventStreams, connections }: Sources): () => void {
  const streams = gauge('media_event_streams', 'Open streams of events.')
  const pool = gauge('media_database_connections', 'Connections to the database, by state: used or free.', ['state'])
  const queued = gauge('media_database_queries_waiting', 'Queries that wait for a connection.')
  return () => {
    streams.set(eventStreams())
    const { most } = connections
    const wanted = connections.wanted()
    pool.set({ state: 'used' }, Math.min(wanted, most))
    pool.set({ state: 'free' }, Math.max(0, most - wanted))
    queued.set(Math.max(0, wanted - most))
  }
}

function ownProcess({ counter, gauge }: Instruments, { now }: Sources): () => void {
  const cpu = counter('process_cpu_seconds_total', 'User and system CPU time spent.')
  const resident = gauge('process_resident_memory_bytes', 'Resident memory size.')
  const startTime = gauge('process_start_time_seconds', 'Start of the process, Unix time.')
  startTime.set(now() / 1000 - process.uptime())
  return () => {
    const { user, system } = process.cpuUsage()
    cpu.reset()
    cpu.inc((user + system) / 1e6)
    resident.set(process.memoryUsage.rss())
  }
}

/** What only a call to a dependency tells; returns the function that reads it. */
export function createDependencyGauges({ gauge }: Instruments, { checks, backlog }: Sources): () => Promise<void> {
  const up = gauge('media_dependency_up', 'Whether a dependency answers: 1 or 0.', ['dependency'])
  const owed = gauge('media_events_owed', 'Events not sent yet, of at most 10000 objects.')
  const owedAge = gauge('media_events_owed_oldest_seconds', 'Age of the oldest of these events.')
  const setAside = gauge('media_events_set_aside', 'Objects whose events cannot be sent; counted up to 10000.')
  const objects = gauge('media_objects', 'Objects that are not active, by status; counted up to 10000.', ['status'])
  const objectsAge = gauge('media_objects_oldest_seconds', 'How long the oldest object has had this status.', [
    'status',
  ])

  return async function read() {
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
