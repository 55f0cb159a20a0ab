/**
 * The contract of the decoder pool: strangers' bytes are decoded in child processes with limits set by the operating
 * system, never in the serving process. The pool implements `Decoders`; use cases of the domain call it.
 */
import type { Placeholder } from '../media/object/object.ts'
import type { Rendition } from '../media/object/rendition.ts'
import type { ProblemCode } from '../problem.ts'

/**
 * What a child does with one picture. `expected`: the stored size in pixels, upright. When the decoder finds another one,
 * a rendition is not made: the result then has no bytes, and the caller corrects the stored size and asks again.
 */
export type DecodeTask =
  | {
      kind: 'rendition'
      mimeType: string
      rendition: Rendition
      expected: { width: number; height: number }
      /** Whether a placeholder is wanted, too; it is made where that costs next to nothing. */
      placeholder: boolean
    }
  /** The same picture at full size and in its own format, without metadata. */
  | { kind: 'clean'; mimeType: string }
  | { kind: 'placeholder'; mimeType: string }

/** The original's bytes, read only when a child is free to take them. */
export type DecodeSource = { sizeBytes: number; read: (signal: AbortSignal) => AsyncIterable<Uint8Array> }

export type DecodeRequest = {
  task: DecodeTask
  source: DecodeSource
  /** Shares places fairly: an owner (`owner:ID`), a stranger's address (`address:IP`), or `upkeep`, which comes last. */
  party: string
  /** When the caller stops waiting, Unix time in milliseconds. A job that has begun may go on. */
  until: number
}

/** `width`, `height`: what the decoder found of the original, in pixels, upright, one frame of an animation. */
export type DecodeResult = {
  width: number
  height: number
  bytes: Uint8Array | undefined
  placeholder: Placeholder | undefined
}

/**
 * Why a job gave nothing.
 * - `bad-bytes`: the decoder refused the bytes, twice, the second time in a fresh child (`image_unreadable`); or they are
 *   more than this task takes, in bytes, pixels or frames (`image_too_large`). True until the decoders change.
 * - `too-dear`: a limit of memory or CPU was passed in a fresh child. True for this task until limits or decoders change.
 * - `not-done`: no place in time, ended by drain, by the parent or by the system, or the source could not be read. Nothing
 *   may be remembered.
 */
export class DecodeFailure extends Error {
  readonly kind: 'bad-bytes' | 'too-dear' | 'not-done'
  /** The problem a caller is answered with: `image_unreadable`, `image_too_large` or `overloaded`. */
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
  /** Places that are taken. */
  busy: number
  /** Jobs that wait for a place. */
  waiting: number
  /** How jobs have ended so far. */
  outcomes: Record<Outcome, number>
  /** Processes that have ended so far while they were at work, by whatever. */
  killed: number
}

export type Decoders = {
  /** Runs one job in a child. Throws `DecodeFailure`, or what reading the source throws. */
  run(request: DecodeRequest): Promise<DecodeResult>
  /** Names the decoders and the limits: outcomes that were remembered under another version are tried again. */
  readonly version: string
  /** How long a job that has begun can take at most, in milliseconds: leases on what it makes last longer. */
  readonly longestMs: number
  /** For metrics. */
  usage(): DecoderUsage
  /** Waits for running jobs within `ms`, then ends them as nobody's fault. No child is left when it resolves. */
  stop(ms: number): Promise<void>
}
