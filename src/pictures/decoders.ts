/** The pool of decoder processes, which decode untrusted pictures under limits that the operating system enforces. */
import sharp from 'sharp'
import type { Log } from '../log.ts'
import { timed } from '../telemetry/record.ts'
import { DecodeFailure, type DecodeRequest, type DecodeResult, type Decoders, type Outcome } from './decoding.ts'
import { MAX_DECODED_BYTES } from './limits.ts'
import type { DecoderProcess, JobLimits } from './process.ts'
import { createQueue } from './queue.ts'
import { createWarm } from './warm.ts'

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

/** The first job starts the first process. */
export function createDecoders(
  { decoders, decoderMemoryBytes, decoderCpuSeconds, allowedTypes }: Settings,
  { log, jobsPerProcess = JOBS_PER_PROCESS, idleMs = IDLE_MS }: { log: Log; jobsPerProcess?: number; idleMs?: number },
): Decoders {
  const queue = createQueue(decoders)
  const limits: JobLimits = {
    cpuSeconds: decoderCpuSeconds,
    transferMs: TRANSFER_MS,
    ms: TRANSFER_MS + CLOCK_FACTOR * decoderCpuSeconds * 1000,
  }
  const warm = createWarm({
    memoryBytes: decoderMemoryBytes,
    cpuSeconds: decoderCpuSeconds,
    jobs: jobsPerProcess,
    idleMs,
    types: [...allowedTypes],
  })
  const outcomes: Record<Outcome, number> = { done: 0, 'bad-bytes': 0, 'too-dear': 0, 'not-done': 0 }
  const running = new Set<Promise<unknown>>()
  let killed = 0
  let stopping = false

  async function decode(request: DecodeRequest): Promise<DecodeResult> {
    let refusals = 0
    for (let attempt = 1; attempt <= MOST_ATTEMPTS && !stopping; attempt += 1) {
      const decoder = await starting(() => (attempt === 1 ? warm.take() : warm.start()))
      const fresh = decoder.jobs() === 0
      const ended = await inProcess(decoder, request)
      if (ended.kind === 'done') return ended.result
      if (ended.kind === 'too-large')
        throw tooLarge('The picture has too many pixels or bytes for this operation.', ended.said)
      log.warn({ ...ended, task: request.task.kind, type: request.task.mimeType, fresh }, 'decoders: a job failed')
      if (ended.kind === 'limit' || ended.kind === 'lost') killed += 1
      if (ended.kind === 'lost') throw notDone('The picture could not be decoded now. Try again.', ended.said)
      if (ended.kind === 'limit' && fresh)
        throw tooDear('Decoding the picture takes more memory or time than there is for one.', ended.said)
      if (ended.kind === 'refused') refusals += 1
      if (refusals === 2) throw badBytes(ended.said)
    }
    throw notDone(
      stopping ? 'The service is stopping.' : 'The decoder failed for a reason other than the picture. Try again.',
    )
  }

  async function inProcess(decoder: DecoderProcess, { task, source }: DecodeRequest) {
    try {
      return await decoder.run(task, source, limits)
    } finally {
      await warm.giveBack(decoder)
    }
  }

  async function starting(start: () => Promise<DecoderProcess>): Promise<DecoderProcess> {
    try {
      return await start()
    } catch (error) {
      log.error({ err: error }, 'decoders: no process could be started')
      throw notDone('No decoder could be started. Try again.', error)
    }
  }

  async function run(request: DecodeRequest): Promise<DecodeResult> {
    if (request.source.sizeBytes > MAX_DECODED_BYTES)
      throw new DecodeFailure('bad-bytes', 'image_too_large', 'The file is too large to be decoded.')
    const giveBack = await queue.place(request.party, request.until)
    if (giveBack === undefined) throw notDone('Too many pictures are being decoded. Try again.')
    const decoding = timed('image', () => decode(request)).finally(giveBack)
    running.add(decoding)
    return decoding.finally(() => running.delete(decoding))
  }

  return {
    version: versionOf({ decoderMemoryBytes, decoderCpuSeconds }),
    longestMs: MOST_ATTEMPTS * (START_MS + limits.ms),

    async run(request) {
      let outcome: Outcome = 'not-done'
      try {
        const result = await run(request)
        outcome = 'done'
        return result
      } catch (error) {
        if (error instanceof DecodeFailure) outcome = error.kind
        throw error
      } finally {
        outcomes[outcome] += 1
      }
    },

    usage: () => ({ processes: warm.count(), ...queue.usage(), outcomes: { ...outcomes }, killed }),

    async stop(ms) {
      stopping = true
      queue.close()
      const patience = new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        void Promise.allSettled(running).then(() => {
          clearTimeout(timer)
          resolve()
        })
      })
      await patience
      await warm.stop()
      await Promise.allSettled(running)
    },
  }
}

/** Identifies the decoders and limits: with other versions or limits, an outcome may differ. */
function versionOf(limits: Pick<Settings, 'decoderMemoryBytes' | 'decoderCpuSeconds'>): string {
  const { sharp: own, vips } = sharp.versions
  return `sharp ${own}, libvips ${vips}, ${limits.decoderMemoryBytes} bytes, ${limits.decoderCpuSeconds} s`
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
