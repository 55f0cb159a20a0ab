/** Runs decoder tasks on stored pictures, and records their failures on the row. */
import {
  DecodeFailure,
  type DecodeResult,
  type Decoders,
  type DecodeSource,
  type DecodeTask,
} from '../../pictures/decoding.ts'
import { MAX_DECODED_BYTES } from '../../pictures/limits.ts'
import { Problem } from '../../problem.ts'
import type { Storage } from '../../storage/storage.ts'
import type { Dimensions } from '../object/object.ts'
import { ALL_RENDITIONS, refusalOf, WHOLE } from '../object/outcomes.ts'
import { nameOf } from '../object/rendition.ts'
import type { Repository } from '../table/repository.ts'

export type Picture = { id: string; key: string; mimeType: string; sizeBytes: number; metadata: Dimensions }

/**
 * Whose share of the decoders a task uses, and until when it waits for a slot, in Unix milliseconds; see
 * `DecodeRequest`.
 */
export type Asking = { party: string; until: number }

/**
 * Runs a task, and corrects a wrong size on the row.
 * @throws Problem `image_unreadable` or `image_too_large`, which the row then remembers, `overloaded`, or what the
 * store throws
 */
export type Decode = {
  (picture: Picture, task: DecodeTask, asking: Asking): Promise<DecodeResult>
  /** The version of the decoders and their limits; outcomes are remembered for it. */
  readonly version: string
}

type Deps = {
  decoders: Decoders
  repository: Pick<Repository, 'outcomes'>
  storage: Storage
  limits: { signedUrlSeconds: number }
}

const PIECE_BYTES = 4 * 1024 * 1024

export function createDecode({ decoders, repository, storage, limits }: Deps): Decode {
  async function remember(picture: Picture, task: DecodeTask, failure: Failure): Promise<Problem> {
    const { id, key: source } = picture
    const name = taskOf(task)
    const remembered = await repository.outcomes.note({
      ...{ id, source, version: decoders.version, code: failure.code, task: scopeOf(task, failure) },
      final: failure.kind === 'bad-bytes',
    })
    const refusal = remembered && refusalOf(remembered, name, groupOf(task))
    return refusal ?? new Problem('overloaded', 'The picture has changed meanwhile. Try again.')
  }

  async function run(picture: Picture, task: DecodeTask, asking: Asking): Promise<DecodeResult> {
    if (picture.sizeBytes > MAX_DECODED_BYTES) throw await remember(picture, task, TOO_LARGE)
    try {
      return await decoders.run({ task, source: sourceOf(storage, picture), ...asking })
    } catch (error) {
      if (!(error instanceof DecodeFailure)) throw error
      if (error.kind === 'not-done') throw new NotDone(error)
      throw await remember(picture, task, error)
    }
  }

  const decode = async (picture: Picture, task: DecodeTask, asking: Asking): Promise<DecodeResult> => {
    const result = await run(picture, task, asking)
    const { width, height } = picture.metadata
    // Rows of earlier versions may have no size.
    const known = typeof width === 'number' && typeof height === 'number'
    if (known && (width !== result.width || height !== result.height))
      await repository.outcomes.correctSize(picture, result, limits.signedUrlSeconds)
    return result
  }
  return Object.assign(decode, { version: decoders.version })
}

/** The task was not done, for a reason other than the picture; nothing is remembered. */
export class NotDone extends Problem {
  constructor(cause: unknown) {
    super('overloaded', 'Too many pictures are being decoded. Try again.', { cause })
  }
}

type Failure = Pick<DecodeFailure, 'kind' | 'code'>
const TOO_LARGE: Failure = { kind: 'bad-bytes', code: 'image_too_large' }

/** The name of a task among the outcomes. */
function taskOf(task: DecodeTask): string {
  return task.kind === 'rendition' ? nameOf(task.rendition) : task.kind
}

export function groupOf(task: Pick<DecodeTask, 'kind'>): string {
  return task.kind === 'rendition' ? ALL_RENDITIONS : task.kind
}

/**
 * The tasks that share a failure: unreadable bytes fail every task, or every rendition; a picture that is too large for
 * one format may fit another.
 */
function scopeOf(task: DecodeTask, { kind, code }: Failure): string {
  if (kind !== 'bad-bytes' || code !== 'image_unreadable') return taskOf(task)
  return task.kind === 'rendition' ? ALL_RENDITIONS : WHOLE
}

/** Reads the original in pieces, so that this process never holds more than one of them. */
function sourceOf(storage: Storage, { key, sizeBytes }: Picture): DecodeSource {
  return {
    sizeBytes,
    async *read(signal) {
      for (let start = 0; start < sizeBytes; ) {
        const piece = await storage.read(key, { start, length: Math.min(PIECE_BYTES, sizeBytes - start), signal })
        if (piece.length === 0) throw new Problem('storage_unavailable', 'The bytes could not be read. Try again.')
        yield piece
        start += piece.length
      }
    },
  }
}
