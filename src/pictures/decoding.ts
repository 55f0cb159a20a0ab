/**
 * The contract of the decoder pool: untrusted bytes are decoded in child processes with limits enforced by the
 * operating system, never in the serving process. The pool implements `Decoders`; use cases of the domain call it.
 */
import type { Placeholder } from '../media/object/object.ts'
import type { Rendition } from '../media/object/rendition.ts'
import type { ProblemCode } from '../problem.ts'

/**
 * One task on one picture. `expected`: the stored size in pixels, upright. If the decoder finds another size, it makes
 * no rendition: the result has no bytes, and the caller corrects the stored size and asks again.
 */
export type DecodeTask =
  | {
      kind: 'rendition'
      mimeType: string
      rendition: Rendition
      expected: { width: number; height: number }
      /** Whether a placeholder is wanted as well; it is made only if that costs almost nothing. */
      placeholder: boolean
    }
  /** Copies the picture at full size and in the format of `copyTypeOf`, without metadata. */
  | { kind: 'clean'; mimeType: string }
  | { kind: 'placeholder'; mimeType: string }

/** The original's bytes, read only when a child process is free. */
export type DecodeSource = { sizeBytes: number; read: (signal: AbortSignal) => AsyncIterable<Uint8Array> }

export type DecodeRequest = {
  task: DecodeTask
  source: DecodeSource
  /** The unit of fair sharing: an owner (`owner:ID`), an anonymous address (`address:IP`), or `upkeep`, served last. */
  party: string
  /** When the caller stops waiting for a slot, Unix time in milliseconds. A running job may go on. */
  until: number
}

/** `width`, `height`: the original's size as the decoder found it, in pixels, upright, of one frame. */
export type DecodeResult = {
  width: number
  height: number
  bytes: Uint8Array | undefined
  placeholder: Placeholder | undefined
}

/**
 * Why a job has no result.
 * - `bad-bytes`: the decoder refused the bytes twice, the second time in a fresh process (`image_unreadable`); or they
 *   exceed this task's limit of bytes, pixels or frames (`image_too_large`). Valid until the decoders change.
 * - `too-dear`: the task exceeded the memory or CPU limit in a fresh process. Valid until limits or decoders change.
 * - `not-done`: no slot in time, ended by a drain, by the service or by the system, or the source could not be read.
 *   The outcome must not be remembered.
 */
export class DecodeFailure extends Error {
  readonly kind: 'bad-bytes' | 'too-dear' | 'not-done'
  /** The problem for the client: `image_unreadable`, `image_too_large` or `overloaded`. */
  readonly code: ProblemCode

  constructor(kind: DecodeFailure['kind'], code: ProblemCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.name = 'DecodeFailure'
    this.kind = kind
    this.code = code
  }
}

export type Outcome = 'done' | DecodeFailure['kind']

export type DecoderUsage = {
  processes: number
  /** Slots in use. */
  busy: number
  /** Jobs that wait for a slot. */
  waiting: number
  /** Number of jobs by outcome so far. */
  outcomes: Record<Outcome, number>
  /** Processes that ended during a job so far, for any reason. */
  killed: number
}

export type Decoders = {
  /**
   * Runs one job in a child process.
   * @throws `DecodeFailure`, or the error of reading the source
   */
  run(request: DecodeRequest): Promise<DecodeResult>
  /** Identifies decoders and limits: jobs with outcomes remembered under another version are tried again. */
  readonly version: string
  /** Longest time of a running job in milliseconds: leases on its result last longer. */
  readonly longestMs: number
  /** For metrics. */
  usage(): DecoderUsage
  /** Waits up to `ms` for running jobs, then ends them as `not-done`. No child process is left when it resolves. */
  stop(ms: number): Promise<void>
}
