/** GIFs of many pixels, or of many blocks. */
import fc from 'fast-check'
import { gif, gifFrame } from '../made-pictures.ts'
import { type Bytes, join, little16, repeat } from '../picture-pieces.ts'
import { type Hostile, MiB, MOST_PIECES } from './kind.ts'

const MOST_FRAMES = 10_000
const [CLEAR, END, FIRST] = [4, 5, 6]
const EMPTY_EXTENSION = [0x21, 0xfe, 0]
const EMPTY_IMAGE = [0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 0]

export function gifs(): Hostile[] {
  return [
    flat(8000, 8000),
    extensions(5_000_000, 0),
    extensions(5_000_000, MiB),
    emptyImages(5_000_000),
    smallBlocks(8_000_000, 0),
    smallBlocks(8_000_000, MiB),
  ]
}

export function anyGif(): fc.Arbitrary<Hostile> {
  const many = fc.integer({ min: 50_000, max: 2_000_000 })
  const hidden = fc.constantFrom(0, MiB)
  const side = fc.integer({ min: 2000, max: 8000 })
  return fc.oneof(
    fc.tuple(side, side).map(([width, height]) => flat(width, height)),
    fc.tuple(many, hidden).map(([count, behind]) => extensions(count, behind)),
    fc.integer({ min: MOST_FRAMES + 1, max: 2_000_000 }).map(emptyImages),
    fc.tuple(many, hidden).map(([count, behind]) => smallBlocks(count, behind)),
  )
}

function flat(width: number, height: number): Hostile {
  const make = () => {
    const frame = join([0x2c, 0, 0, 0, 0], little16(width), little16(height), [0, 2])
    return gif(width, height, frame, subBlocks(flatLzw(width * height)), [0])
  }
  return {
    ...{ name: `GIF of ${width} × ${height}`, mimeType: 'image/gif', make },
    ...{ door: undefined, structure: undefined },
  }
}

/** `behind`: so many bytes of comments come first, and hide them from whoever looks at the beginning. */
function extensions(count: number, behind: number): Hostile {
  return {
    ...{ name: `GIF of ${count} empty extensions${where(behind)}`, mimeType: 'image/gif' },
    make: () => gif(7, 5, gifFrame(7, 5), padding(behind), repeat(count, EMPTY_EXTENSION)),
    door: behind === 0 ? 'image_unreadable' : undefined,
    structure: 'image_unreadable',
  }
}

function emptyImages(count: number): Hostile {
  return {
    ...{ name: `GIF of ${count} empty images`, mimeType: 'image/gif' },
    make: () => gif(7, 5, gifFrame(7, 5), repeat(count, EMPTY_IMAGE)),
    ...{ door: 'image_too_large', structure: 'image_too_large' },
  }
}

/** One image in blocks of a byte each. */
function smallBlocks(count: number, behind: number): Hostile {
  const start = [0x2c, 0, 0, 0, 0, 7, 0, 5, 0, 0, 2]
  return {
    ...{ name: `GIF of ${count} blocks of one byte${where(behind)}`, mimeType: 'image/gif' },
    make: () => gif(7, 5, gifFrame(7, 5), padding(behind), start, repeat(count, [1, 0]), [0]),
    door: behind === 0 ? 'image_unreadable' : undefined,
    structure: count > MOST_PIECES + (count * 2 + behind) / 64 + behind / 256 ? 'image_unreadable' : undefined,
  }
}

const where = (behind: number) => (behind > 0 ? ` behind ${behind} bytes` : '')
const padding = (bytes: number) =>
  bytes === 0 ? [] : join([0x21, 0xfe], repeat(Math.ceil(bytes / 256), [255], new Uint8Array(255)), [0])

/**
 * So many pixels of the first colour. Each code stands for one pixel more than the one before it, until the table of
 * 4,096 is full and cleared.
 */
function flatLzw(pixels: number): Bytes {
  const bytes: number[] = []
  let [buffer, bits] = [0, 0]
  const write = (code: number, width: number) => {
    buffer |= code << bits
    bits += width
    for (; bits >= 8; bits -= 8, buffer >>>= 8) bytes.push(buffer & 255)
  }
  const widthOf = (code: number) => Math.max(3, 32 - Math.clz32(code))
  let width = 3
  for (let left = pixels; left > 0; ) {
    write(CLEAR, width)
    write(0, 3)
    width = 3
    left -= 1
    for (let next = FIRST; next < 4096 && left > 0; next += 1) {
      // The code `next` is one pixel more than the code before; FIRST is two.
      const code = Math.min(next, left + FIRST - 2)
      width = widthOf(next)
      write(left === 1 ? 0 : code, width)
      left -= left === 1 ? 1 : code - FIRST + 2
    }
  }
  // One more entry was made by the last code.
  write(END, width)
  write(0, 8)
  return Uint8Array.from(bytes)
}

function subBlocks(data: Uint8Array): Bytes {
  const blocks: Uint8Array[] = []
  for (let at = 0; at < data.length; at += 255) {
    const block = data.subarray(at, at + 255)
    blocks.push(Uint8Array.of(block.length), block)
  }
  return join(...blocks)
}
