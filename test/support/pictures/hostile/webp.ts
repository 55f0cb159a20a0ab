/** WebPs of many chunks. */
import fc from 'fast-check'
import { extended, lossless, webp } from '../made-pictures.ts'
import { join, little24, repeat, riffChunk } from '../picture-pieces.ts'
import { type Hostile, MiB } from './kind.ts'

const MOST_FRAMES = 10_000
const ANIMATED = 0x02
const EMPTY = riffChunk('JUNK')

export function webps(): Hostile[] {
  return [
    emptyChunks(7_800_000, 0),
    emptyChunks(7_600_000, MiB),
    chunksOfFrame(7_800_000, 0, 'JUNK'),
    chunksOfFrame(7_600_000, MiB, 'ALPH'),
    frames(1_000_000, 0),
    frames(1_000_000, MiB),
  ]
}

export function anyWebp(): fc.Arbitrary<Hostile> {
  const many = fc.integer({ min: 50_000, max: 2_000_000 })
  const hidden = fc.constantFrom(0, MiB)
  return fc.oneof(
    fc.tuple(many, hidden).map((some) => emptyChunks(...some)),
    fc.tuple(many, hidden, fc.constantFrom('JUNK', 'ALPH', 'VP8L')).map((some) => chunksOfFrame(...some)),
    fc.tuple(fc.integer({ min: MOST_FRAMES + 1, max: 1_200_000 }), hidden).map((some) => frames(...some)),
  )
}

function emptyChunks(count: number, behind: number): Hostile {
  const make = () => webp(extended(0, 7, 5), lossless(7, 5), padding(behind), repeat(count, EMPTY))
  return hostile(`${count} empty chunks`, behind, 'image_unreadable', make)
}

/** libwebp goes through all that is in a frame for its pixels. */
function chunksOfFrame(count: number, behind: number, type: string): Hostile {
  const make = () =>
    webp(
      ...[extended(ANIMATED, 7, 5), riffChunk('ANIM', new Uint8Array(6)), frame(lossless(7, 5)), padding(behind)],
      frame(repeat(count, riffChunk(type))),
    )
  return hostile(`a frame of ${count} empty ${type}`, behind, 'image_unreadable', make)
}

function frames(count: number, behind: number): Hostile {
  const make = () =>
    webp(
      ...[extended(ANIMATED, 7, 5), riffChunk('ANIM', new Uint8Array(6)), frame(lossless(7, 5)), padding(behind)],
      repeat(count, frame(lossless(1, 1))),
    )
  return hostile(`${count} frames`, behind, count > MOST_FRAMES ? 'image_too_large' : undefined, make)
}

function hostile(what: string, behind: number, code: Hostile['structure'], make: Hostile['make']): Hostile {
  return {
    ...{ name: `WebP of ${what}${behind > 0 ? ` behind ${behind} bytes` : ''}`, mimeType: 'image/webp', make },
    ...{ door: behind > 0 ? undefined : code, structure: code },
  }
}

const frame = (chunks: Uint8Array) =>
  riffChunk('ANMF', little24(0), little24(0), little24(6), little24(4), little24(100), [0], chunks)
const padding = (bytes: number) => (bytes === 0 ? join() : riffChunk('JUNK', new Uint8Array(bytes)))
