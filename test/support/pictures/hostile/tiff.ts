/** TIFFs of many directories or entries. */
import fc from 'fast-check'
import { type Bytes, join, little16, little32, repeat } from '../picture-pieces.ts'
import type { Hostile } from './kind.ts'

const [SHORT, LONG] = [3, 4]

export function tiffs(): Hostile[] {
  return [loop(1), loop(40), directories(1_000_000), longDirectory(65_535), hugeCount(0xffffffff)]
}

export function anyTiff(): fc.Arbitrary<Hostile> {
  return fc.oneof(
    fc.integer({ min: 1, max: 1000 }).map(loop),
    fc.integer({ min: 20_001, max: 500_000 }).map(directories),
    fc.integer({ min: 20_001, max: 65_535 }).map(longDirectory),
    fc.integer({ min: 2 ** 24, max: 2 ** 32 - 1 }).map(hugeCount),
  )
}

/** Directories of which the last is followed by the first. */
function loop(length: number): Hostile {
  return hostile(`a loop of ${length} directories`, 'image_unreadable', () => chain(length, 8))
}

function directories(count: number): Hostile {
  return hostile(`${count} directories`, 'image_unreadable', () => chain(count, 0))
}

function longDirectory(entries: number): Hostile {
  const make = () => {
    const more = repeat(entries - PICTURE.length, entry(0xff00, SHORT, 1, 0))
    return join('II*\0', little32(8), little16(entries), ...PICTURE, more, little32(0))
  }
  return { ...hostile(`a directory of ${entries} entries`, 'image_unreadable', make), door: 'image_unreadable' }
}

/** Strips, of which there are said to be more than bytes. */
function hugeCount(count: number): Hostile {
  const make = () => {
    const strips = [entry(0x111, LONG, count, 8), entry(0x117, LONG, count, 8)]
    return join('II*\0', little32(8), little16(PICTURE.length + 2), ...PICTURE, ...strips, little32(0))
  }
  return hostile(`${count} strips`, undefined, make)
}

function hostile(what: string, structure: Hostile['structure'], make: () => Bytes): Hostile {
  return { name: `TIFF of ${what}`, mimeType: 'image/tiff', make, door: undefined, structure }
}

function chain(length: number, last: number): Bytes {
  const directory = join(little16(PICTURE.length), ...PICTURE, little32(0))
  const file = join('II*\0', little32(8), repeat(length, directory))
  const view = new DataView(file.buffer)
  for (let i = 1; i <= length; i += 1) {
    const next = 8 + directory.length * i
    view.setUint32(next - 4, i < length ? next : last, true)
  }
  return file
}

function entry(tag: number, type: number, count: number, value: number): Bytes {
  return join(little16(tag), little16(type), little32(count), little32(value))
}

// 7 × 5, eight bits of grey, in one strip of the file's own first bytes.
const PICTURE = [
  ...[entry(0x100, SHORT, 1, 7), entry(0x101, SHORT, 1, 5), entry(0x102, SHORT, 1, 8), entry(0x103, SHORT, 1, 1)],
  ...[entry(0x106, SHORT, 1, 1)],
]
