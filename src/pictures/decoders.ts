/** The pool of decoder processes, which decode untrusted pictures under limits that the operating system enforces. */
import { readFileSync } from 'node:fs'
import type { Log } from '../log.ts'
import { timed } from '../telemetry/record.ts'
import { DecodeFailure, type DecodeRequest, type DecodeResult, type Decoders, type Outcome } from './decoding.ts'
import { MAX_DECODED_BYTES } from './limits.ts'
import type { DecoderProcess, JobLimits } from './process.ts'
import { createQueue, type Lane, type Queue } from './queue.ts'
import { createWarm, type Warm } from './warm.ts'

type Settings = {
  /** Most processes at once, each with one job at a time. */
  decoders: number
  /** Memory limit of one process, in bytes. */
  decoderMemoryBytes: number
  /** CPU time limit of one job. */
  decoderCpuSeconds: number
  allowedTypes: ReadonlySet<string>
}

/** Jobs of one process before it is replaced: bounds the memory that libraries leak. */
const JOBS_PER_PROCESS = 100
const IDLE_MS = 60_000
/** A decoder's error counts once it is repeated, a limit once a fresh process has exceeded it. */
const MOST_ATTEMPTS = 3
// Time for reading the bytes from the store, and a margin for an overloaded machine.
const TRANSFER_MS = 20_000
const CLOCK_FACTOR = 3
const START_MS = 20_000

/** The state of one pool. */
type Pool = {
  log: Log
  queue: Queue
  warm: Warm
  limits: JobLimits
  running: Set<Promise<unknown>>
  killed: number
  stopping: boolean
}

/** The first job starts the first process. */
export function createDecoders(
  { decoders, decoderMemoryBytes, decoderCpuSeconds, allowedTypes }: Settings,
  { log, jobsPerProcess = JOBS_PER_PROCESS, idleMs = IDLE_MS }: { log: Log; jobsPerProcess?: number; idleMs?: number },
): Decoders {
  const limits: JobLimits = {
    cpuSeconds: decoderCpuSeconds,
    transferMs: TRANSFER_MS,
    ms: TRANSFER_MS + CLOCK_FACTOR * decoderCpuSeconds * 1000,
  }
  const queue = createQueue(decoders)
  const warm = createWarm({
    memoryBytes: decoderMemoryBytes,
    cpuSeconds: decoderCpuSeconds,
    jobs: jobsPerProcess,
    idleMs,
    types: [...allowedTypes],
  })
  const pool: Pool = { log, queue, warm, limits, running: new Set(), killed: 0, stopping: false }
  const outcomes: Record<Outcome, number> = { done: 0, 'bad-bytes': 0, 'too-dear': 0, 'not-done': 0 }

  return {
    version: versionOf({ decoderMemoryBytes, decoderCpuSeconds }),
    longestMs: MOST_ATTEMPTS * (START_MS + limits.ms),

    async run(request) {
      let outcome: Outcome = 'not-done'
      try {
        const result = await run(pool, request)
        outcome = 'done'
        return result
      } catch (error) {
        if (error instanceof DecodeFailure) outcome = error.kind
        throw error
      } finally {
        outcomes[outcome] += 1
      }
    },

    usage: () => ({ processes: warm.count(), ...queue.usage(), outcomes: { ...outcomes }, killed: pool.killed }),
    stop: (ms) => stop(pool, ms),
  }
}

async function run(pool: Pool, request: DecodeRequest): Promise<DecodeResult> {
  if (request.source.sizeBytes > MAX_DECODED_BYTES)
    throw new DecodeFailure('bad-bytes', 'image_too_large', 'The file is too large to be decoded.')
  const giveBack = await pool.queue.place(request.party, request.until, laneOf(request))
  if (giveBack === undefined) throw notDone('Too many pictures are being decoded. Try again.')
  const decoding = timed('image', () => decode(pool, request)).finally(giveBack)
  pool.running.add(decoding)
  return decoding.finally(() => pool.running.delete(decoding))
}

/** A HEIC takes the most memory and time, and so never more than one place of the pool. */
function laneOf({ task }: DecodeRequest): Lane | undefined {
  return task.mimeType === 'image/heic' ? 'heic' : undefined
}

async function decode(pool: Pool, request: DecodeRequest): Promise<DecodeResult> {
  const { log, warm } = pool
  let refusals = 0
  for (let attempt = 1; attempt <= MOST_ATTEMPTS && !pool.stopping; attempt += 1) {
    const decoder = await starting(pool, () => (attempt === 1 ? warm.take() : warm.start()))
    const fresh = decoder.jobs() === 0
    const ended = await inProcess(pool, decoder, request)
    if (ended.kind === 'done') return ended.result
    if (ended.kind === 'too-large')
      throw tooLarge('The picture has too many pixels or bytes for this operation.', ended.said)
    log.warn({ ...ended, task: request.task.kind, type: request.task.mimeType, fresh }, 'decoders: a job failed')
    if (ended.kind === 'limit' || ended.kind === 'lost') pool.killed += 1
    if (ended.kind === 'lost') throw notDone('The picture could not be decoded now. Try again.', ended.said)
    if (ended.kind === 'limit' && fresh)
      throw tooDear('Decoding the picture takes more memory or time than there is for one.', ended.said)
    if (ended.kind === 'refused') refusals += 1
    if (refusals === 2) throw badBytes(ended.said)
  }
  throw notDone(
    pool.stopping ? 'The service is stopping.' : 'The decoder failed for a reason other than the picture. Try again.',
  )
}

async function starting({ log }: Pool, start: () => Promise<DecoderProcess>): Promise<DecoderProcess> {
  try {
    return await start()
  } catch (error) {
    log.error({ err: error }, 'decoders: no process could be started')
    throw notDone('No decoder could be started. Try again.', error)
  }
}

async function inProcess({ warm, limits }: Pool, decoder: DecoderProcess, { task, source }: DecodeRequest) {
  try {
    return await decoder.run(task, source, limits)
  } finally {
    await warm.giveBack(decoder)
  }
}

/** Waits `ms` milliseconds for running jobs, then ends their processes. */
async function stop(pool: Pool, ms: number): Promise<void> {
  pool.stopping = true
  pool.queue.close()
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    void Promise.allSettled(pool.running).then(() => {
      clearTimeout(timer)
      resolve()
    })
  })
  await pool.warm.stop()
  await Promise.allSettled(pool.running)
}

/** Identifies the decoders and limits: with other versions or limits, an outcome may differ. */
function versionOf(limits: Pick<Settings, 'decoderMemoryBytes' | 'decoderCpuSeconds'>): string {
  // Each version of sharp has its own libvips. Loading it for its `versions` would take 10 MB.
  const text = readFileSync(new URL('../package.json', import.meta.resolve('sharp')), 'utf8')
  const { version }: { version?: unknown } = JSON.parse(text)
  return `sharp ${version}, ${limits.decoderMemoryBytes} bytes, ${limits.decoderCpuSeconds} s`
}

// The messages are for clients; the process's own error text is in the cause.
function badBytes(cause: unknown): DecodeFailure {
  return new DecodeFailure('bad-bytes', 'image_unreadable', 'The picture cannot be decoded.', { cause })
}

/** The outcome of a check that needs no decoding. */
function tooLarge(message: string, cause: unknown): DecodeFailure {
  return new DecodeFailure('bad-bytes', 'image_too_large', message, { cause })
}

function tooDear(message: string, cause: unknown): DecodeFailure {
  return new DecodeFailure('too-dear', 'image_too_large', message, { cause })
}

function notDone(message: string, cause?: unknown): DecodeFailure {
  return new DecodeFailure('not-done', 'overloaded', message, { cause })
}
