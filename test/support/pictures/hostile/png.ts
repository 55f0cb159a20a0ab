/** PNGs that unpack to much, or consist of much. */
import fc from 'fast-check'
import { png, text } from '../made-pictures.ts'
import { type Bytes, chunk, join, repeat, u32 } from '../picture-pieces.ts'
import { deflatedZeros } from './deflated.ts'
import { type Hostile, MiB, MOST_PIECES } from './kind.ts'

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
const [RGBA, GREY] = [6, 0]
const END = chunk('IEND')

export function pngs(): Hostile[] {
  return [
    texts(120, 8 * MiB - 1024),
    interlaced(8000, 8000),
    profile(1024 * MiB),
    emptyPixels(5_000_000, { animated: true }),
    emptyPixels(30_000, { animated: false }),
    hiddenChunks(2_000_000),
    emptyTexts(MOST_PIECES + 10),
  ]
}

export function anyPng(): fc.Arbitrary<Hostile> {
  return fc.oneof(
    fc
      .tuple(fc.integer({ min: 10, max: 120 }), fc.integer({ min: MiB, max: 8 * MiB }))
      .map(([n, each]) => texts(n, each)),
    fc.tuple(side, side).map(([width, height]) => interlaced(width, height)),
    fc.integer({ min: 9, max: 900 }).map((mebibytes) => profile(mebibytes * MiB)),
    fc.integer({ min: 100_000, max: 1_000_000 }).map((n) => emptyPixels(n, { animated: n % 2 === 0 })),
    fc.integer({ min: MOST_PIECES + 1, max: 1_000_000 }).map(hiddenChunks),
  )
}

const side = fc.integer({ min: 2000, max: 8000 })

/** Compressed texts, which libpng unpacks one after the other and keeps. */
function texts(count: number, each: number): Hostile {
  return {
    ...{ name: `PNG of ${count} texts of ${each} bytes`, mimeType: 'image/png' },
    make: () => png(600, 400, repeat(count, chunk('zTXt', 'Comment\0\0', deflatedZeros(each)))),
    ...{ door: undefined, structure: undefined },
  }
}

/** Eight bytes a pixel, all of which have to be there before the first line is. */
function interlaced(width: number, height: number): Hostile {
  const make = () => {
    const header = chunk('IHDR', u32(width), u32(height), [16, RGBA, 0, 0, 1])
    return join(SIGNATURE, header, chunk('IDAT', deflatedZeros(adam7Bytes(width, height, 8))), END)
  }
  return {
    ...{ name: `PNG of 16 bits, interlaced, ${width} × ${height}`, mimeType: 'image/png', make },
    ...{ door: undefined, structure: undefined },
  }
}

function profile(bytes: number): Hostile {
  return {
    ...{ name: `PNG with a colour profile of ${bytes} bytes`, mimeType: 'image/png' },
    make: () => png(600, 400, chunk('iCCP', 'profile\0\0', deflatedZeros(bytes))),
    ...{ door: undefined, structure: undefined },
  }
}

/** Where it is animated, it says so too late to be told apart from a still one by its type. */
function emptyPixels(count: number, { animated }: { animated: boolean }): Hostile {
  const before = animated ? join(text(5000), chunk('acTL', u32(1), u32(0))) : new Uint8Array()
  const make = () => still(before, repeat(count, chunk('IDAT')))
  const seen = Math.min(count * EMPTY_CHUNK_BYTES, MiB)
  return {
    ...{ name: `${animated ? 'APNG' : 'PNG'} of ${count} empty IDAT`, mimeType: 'image/png', make },
    door: tooManyPieces(seen),
    structure: tooManyPieces(count * EMPTY_CHUNK_BYTES),
  }
}

const EMPTY_CHUNK_BYTES = 12
const tooManyPieces = (bytes: number) =>
  bytes / EMPTY_CHUNK_BYTES > MOST_PIECES + (bytes + 10_000) / 64 ? 'image_unreadable' : undefined

function hiddenChunks(count: number): Hostile {
  return {
    ...{ name: `PNG of ${count} empty chunks behind 1 MiB`, mimeType: 'image/png' },
    make: () =>
      join(still(chunk('prIv', new Uint8Array(1))).slice(0, -12), text(MiB), repeat(count, chunk('prIv')), END),
    ...{ door: undefined, structure: 'image_unreadable' },
  }
}

function emptyTexts(count: number): Hostile {
  return {
    ...{ name: `PNG of ${count} empty texts`, mimeType: 'image/png' },
    make: () => still(repeat(count, text(0))),
    ...{ door: 'image_unreadable', structure: 'image_unreadable' },
  }
}

/** A small grey picture with chunks before its pixels. */
function still(...chunks: Uint8Array[]): Bytes {
  const header = chunk('IHDR', u32(40), u32(30), [8, GREY, 0, 0, 0])
  return join(SIGNATURE, header, ...chunks, chunk('IDAT', deflatedZeros(41 * 30)), END)
}

/** https://www.w3.org/TR/png-3/#8Interlace: bytes of all seven passes, with the filter of each line. */
function adam7Bytes(width: number, height: number, bytesPerPixel: number): number {
  const passes = [
    ...[[0, 0, 8, 8] as const, [4, 0, 8, 8] as const, [0, 4, 4, 8] as const, [2, 0, 4, 4] as const],
    ...[[0, 2, 2, 4] as const, [1, 0, 2, 2] as const, [0, 1, 1, 2] as const],
  ]
  return passes.reduce((sum, [x, y, stepX, stepY]) => {
    const [columns, rows] = [Math.ceil((width - x) / stepX), Math.ceil((height - y) / stepY)]
    return sum + rows * (1 + columns * bytesPerPixel)
  }, 0)
}
