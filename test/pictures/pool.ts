import { afterAll } from 'bun:test'
import { createDecoders } from '../../src/pictures/decoders.ts'
import type { DecodeFailure, DecodeRequest, DecodeResult, Decoders, DecodeTask } from '../../src/pictures/decoding.ts'
import { DEFAULT_TYPES } from '../corpus.ts'
import { createRecordingLog } from '../recording-log.ts'

const MiB = 1024 * 1024
/** The settings' own defaults, with one process. */
const DEFAULTS = {
  decoders: 1,
  decoderMemoryBytes: 704 * MiB,
  decoderCpuSeconds: 20,
  allowedTypes: new Set([...DEFAULT_TYPES, 'image/tiff']),
}

type Overrides = Partial<typeof DEFAULTS> & { jobsPerProcess?: number }

/** A pool that is stopped when the tests of the file are done. */
export function openPool({ jobsPerProcess, ...settings }: Overrides = {}): Decoders {
  const decoders = createDecoders(
    { ...DEFAULTS, ...settings },
    { log: createRecordingLog().log, ...(jobsPerProcess ? { jobsPerProcess } : {}) },
  )
  afterAll(() => decoders.stop(0))
  return decoders
}

/** One job of a patient caller; `source` comes in pieces. */
export function job(task: DecodeTask, bytes: Uint8Array, more: Partial<DecodeRequest> = {}): DecodeRequest {
  async function* read() {
    for (let at = 0; at < bytes.length; at += MiB) yield bytes.subarray(at, at + MiB)
  }
  return { task, source: { sizeBytes: bytes.length, read }, party: 'owner:1', until: Date.now() + 60_000, ...more }
}

/** A rendition 64 pixels wide of a picture of a known size. */
export function renditionOf(mimeType: string, width: number, height: number): DecodeTask {
  const size = { width: 64, height: Math.max(1, Math.round((64 * height) / width)) }
  const rendition = { ...size, fit: 'inside', format: 'webp', quality: 75 } as const
  return { kind: 'rendition', mimeType, rendition, expected: { width, height }, placeholder: true }
}

/** How a job failed; throws when it did not. */
export async function failureOf(done: Promise<DecodeResult>): Promise<DecodeFailure> {
  const { DecodeFailure } = await import('../../src/pictures/decoding.ts')
  const error = await done.then(
    () => new Error('it did not fail'),
    (error: unknown) => error,
  )
  if (error instanceof DecodeFailure) return error
  throw error
}
