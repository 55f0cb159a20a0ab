import { describe, expect, test } from 'bun:test'
import { INSPECTED_BYTES, MAX_DECODED_BYTES } from '../../src/pictures/limits.ts'
import {
  type Outline,
  outlineOfGif,
  outlineOfJpeg,
  outlineOfPng,
  outlineOfTiff,
  outlineOfWebp,
} from '../../src/pictures/outline.ts'
import { createReading } from '../../src/pictures/reading.ts'
import { refusal } from '../support/http/refusal.ts'
import { chunk, join, repeat, riffChunk, segment } from '../support/pictures/picture-pieces.ts'

const MiB = 1024 * 1024

/** A file whose reads are counted, of which the beginning is at hand. */
function stored(bytes: Uint8Array, sizeBytes = bytes.length) {
  const ranges: { start: number; length: number }[] = []
  const read = async (range: { start: number; length: number }) => {
    ranges.push(range)
    return bytes.subarray(range.start, range.start + range.length)
  }
  return { reading: createReading(bytes.subarray(0, INSPECTED_BYTES), { sizeBytes, read }), ranges }
}

describe('a reading', () => {
  const bytes = new Uint8Array(3 * MiB).map((_, i) => i % 251)

  test('gives the beginning without a read, and neighbours of a range with one', async () => {
    const { reading, ranges } = stored(bytes)
    expect(await reading.at(MiB - 10, 10)).toEqual(bytes.subarray(MiB - 10, MiB))
    expect(ranges).toEqual([])
    for (const at of [MiB - 5, MiB + 7, 2 * MiB - 100])
      expect(await reading.at(at, 50)).toEqual(bytes.subarray(at, at + 50))
    expect(ranges).toEqual([{ start: MiB - 5, length: MiB }])
  })

  test('ends where the file ends', async () => {
    const { reading, ranges } = stored(bytes)
    expect(await reading.at(3 * MiB - 3, 8)).toEqual(bytes.subarray(-3))
    expect(await reading.at(3 * MiB, 8)).toHaveLength(0)
    expect(await reading.at(4 * MiB, 8)).toHaveLength(0)
    expect(ranges).toEqual([{ start: 3 * MiB - 3, length: 3 }])
  })

  test('reads sixteen ranges at most, and nothing behind 64 MiB', async () => {
    const far = stored(bytes, 2 * MAX_DECODED_BYTES)
    expect(await refusal(far.reading.at(MAX_DECODED_BYTES - 7, 8))).toMatchObject({ code: 'image_unreadable' })
    expect(far.ranges).toEqual([])
    const { reading, ranges } = stored(new Uint8Array(40 * MiB))
    for (let i = 1; i <= 16; i += 1) await reading.at(2 * i * MiB, 8)
    expect(await refusal(reading.at(36 * MiB, 8))).toMatchObject({ code: 'image_unreadable' })
    expect(ranges).toHaveLength(16)
  })
})

describe('an outline of a file', () => {
  const zeros = new Uint8Array(2 * MiB)
  const jpeg = (...segments: Uint8Array[]) => join([0xff, 0xd8], ...segments, segment(0xda), zeros)
  const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
  const files: [name: string, outlineOf: Outline, bytes: Uint8Array, most: number][] = [
    ['JPEG', outlineOfJpeg, jpeg(repeat(100, segment(0xe1, new Uint8Array(60_000))), segment(0xc0)), 20],
    ['PNG', outlineOfPng, join(signature, chunk('IHDR'), chunk('iCCP', zeros), chunk('IDAT', zeros)), 40],
    ['WebP', outlineOfWebp, join('RIFF....WEBP', riffChunk('ICCP', zeros), riffChunk('VP8L', zeros)), 40],
    [
      'GIF',
      outlineOfGif,
      join(
        'GIF89a',
        new Uint8Array(7),
        [0x21, 0xfe],
        repeat(9000, [255], zeros.subarray(0, 255)),
        [0, 0x2c],
        new Uint8Array(20),
      ),
      30,
    ],
    ['TIFF', outlineOfTiff, join('II*\0', [0, 0, 32, 0], new Uint8Array(2 * MiB)), 32],
  ]

  test.each(files)('leaves out what is long: %s', async (_, outlineOf, bytes, most) => {
    const { reading, ranges } = stored(bytes)
    const outline = await outlineOf(reading)
    expect(outline?.length).toBeLessThanOrEqual(most)
    expect(outline?.length).toBeGreaterThan(9)
    expect(ranges.length).toBeLessThanOrEqual(6)
  })

  test.each(files)('is none where the file ends: %s', async (_, outlineOf, bytes) => {
    for (const end of [0, 1, 7, 13, 30]) {
      const outline = await outlineOf(createReading(bytes.subarray(0, end)))
      expect(outline?.length ?? 0).toBeLessThanOrEqual(end + 10)
    }
  })

  test.each([
    ['JPEG', outlineOfJpeg, jpeg(repeat(21_000, segment(0xfe)))],
    ['PNG', outlineOfPng, join(signature, repeat(21_000, chunk('tEXt')))],
    ['WebP', outlineOfWebp, join('RIFF....WEBP', repeat(21_000, riffChunk('JUNK')))],
    ['GIF', outlineOfGif, join('GIF89a', new Uint8Array(7), repeat(21_000, [0x21, 0xfe, 0]))],
    ['JPEG of tables', outlineOfJpeg, jpeg(repeat(20, segment(0xdb, new Uint8Array(60_000))))],
  ] as const)('has few pieces and 1 MiB at most: %s', async (_, outlineOf, bytes) => {
    expect(await refusal(outlineOf(createReading(bytes)))).toMatchObject({ code: 'image_unreadable' })
  })
})
