import sharp from 'sharp'
import { DecodeFailure, type DecodeResult, type Decoders, type DecodeTask } from '../../../src/pictures/decoding.ts'
import { MAX_DECODED_BYTES } from '../../../src/pictures/limits.ts'
import { perform } from '../../../src/pictures/tasks.ts'
import { Problem } from '../../../src/problem.ts'

type Overrides = {
  version?: string
  /** Decodes in place of the program of the decoder processes. */
  perform?: (task: DecodeTask, bytes: Uint8Array) => Promise<DecodeResult>
}

/** The decoders without processes, limits and queue: at once, and the same for the same bytes. */
export function createInProcessDecoders({
  version = 'in process',
  perform: decode = perform,
}: Overrides = {}): Decoders {
  const outcomes = { done: 0, 'bad-bytes': 0, 'too-dear': 0, 'not-done': 0 }
  let stopped = false

  async function run(...[{ task, source, until }]: Parameters<Decoders['run']>): Promise<DecodeResult> {
    if (stopped || Date.now() > until) throw new DecodeFailure('not-done', 'overloaded', 'There was no place.')
    if (source.sizeBytes > MAX_DECODED_BYTES) throw new DecodeFailure('bad-bytes', 'image_too_large', 'too large')
    const pieces: Uint8Array[] = []
    for await (const piece of source.read(new AbortController().signal)) pieces.push(piece)
    // As in the decoder processes. The service, which tests set up in this process, lets libvips read no TIFF.
    if (task.mimeType === 'image/heic') sharp.unblock({ operation: ['VipsForeignLoadTiffBuffer'] })
    try {
      return await decode(task, Buffer.concat(pieces))
    } catch (error) {
      if (error instanceof DecodeFailure) throw error
      const tooLarge = error instanceof Problem && error.code === 'image_too_large'
      throw new DecodeFailure('bad-bytes', tooLarge ? 'image_too_large' : 'image_unreadable', String(error))
    }
  }

  return {
    version,
    longestMs: 60_000,
    async run(request) {
      let outcome: keyof typeof outcomes = 'not-done'
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
    usage: () => ({ processes: 0, busy: 0, waiting: 0, outcomes: { ...outcomes }, killed: 0 }),
    async stop() {
      stopped = true
    },
  }
}
