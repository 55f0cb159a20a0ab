import { afterAll } from 'bun:test'
import { readFileSync } from 'node:fs'
import sharp, { type Sharp } from 'sharp'
import { createDecoders } from '../../../src/pictures/decoders.ts'
import { DecodeFailure, type DecodeRequest, type Decoders, type DecodeTask } from '../../../src/pictures/decoding.ts'
import { processTree } from '../process/process.ts'
import { createRecordingLog } from '../process/recording-log.ts'
import { DEFAULT_TYPES } from './corpus.ts'

const MiB = 1024 * 1024
/** The settings' own defaults, with one process. */
const DEFAULTS = {
  decoders: 1,
  decoderMemoryBytes: 832 * MiB,
  decoderCpuSeconds: 20,
  allowedTypes: new Set([...DEFAULT_TYPES, 'image/tiff']),
}

type Overrides = Partial<typeof DEFAULTS> & { jobsPerProcess?: number; idleMs?: number }

/** A pool that is stopped when the tests of the file are done. */
export function openPool(overrides: Overrides = {}): Decoders {
  const decoders = createDecoders({ ...DEFAULTS, ...overrides }, { log: createRecordingLog().log, ...overrides })
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

/** Takes seconds of CPU in a decoder: a noisy picture as AVIF. */
export async function slowJob(side = 700): Promise<DecodeRequest> {
  const size = { width: side, height: side }
  const rendition = { ...size, fit: 'inside', format: 'avif', quality: 95 } as const
  const task = { kind: 'rendition', mimeType: 'image/jpeg', rendition, expected: size, placeholder: false } as const
  return job(task, await noise(side, side).jpeg().toBuffer())
}

/** A picture full of detail. */
export function noise(width: number, height: number): Sharp {
  const create = { width, height, channels: 3, background: '#000' } as const
  return sharp({ create: { ...create, noise: { type: 'gaussian', mean: 128, sigma: 40 } } })
}

/** The decoder processes of this process. */
export function decodersOf(pid = process.pid): number[] {
  return processTree(pid).filter((member) => member !== pid && commandOf(member).includes('pictures/child.ts'))
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

/** How a job failed; throws when it did not. */
export async function failureOf(done: Promise<unknown>): Promise<DecodeFailure> {
  const error = await done.then(
    () => new Error('it did not fail'),
    (error: unknown) => error,
  )
  if (error instanceof DecodeFailure) return error
  throw error
}
