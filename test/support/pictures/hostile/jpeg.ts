/** JPEGs of many scans or segments (ITU-T T.81). */
import fc from 'fast-check'
import { type Bytes, join, repeat, segment, u16 } from '../picture-pieces.ts'
import { type Hostile, MiB, MOST_PIECES } from './kind.ts'

const MOST_SCANS = 100
const SOI = [0xff, 0xd8]
const EOI = [0xff, 0xd9]
const [SOF0, SOF2, DHT, SOS, DQT, DRI, COM, APP2, APP9] = [0xc0, 0xc2, 0xc4, 0xda, 0xdb, 0xdd, 0xfe, 0xe2, 0xe9]

export function jpegs(): Hostile[] {
  return [
    scans(8000, 8000, 600),
    scans(8000, 8000, 1000),
    scans(8000, 8000, 1000, MiB),
    applicationSegments(MOST_PIECES - 100, 3000),
    applicationSegments(5_000_000, 0),
    profile(255),
    markers(20_000_000),
  ]
}

export function anyJpeg(): fc.Arbitrary<Hostile> {
  const side = fc.integer({ min: 2000, max: 8000 })
  return fc.oneof(
    fc
      .tuple(side, side, fc.integer({ min: 10, max: 1000 }), fc.constantFrom(0, MiB))
      .map(([width, height, count, behind]) => scans(width, height, count, behind)),
    fc
      .tuple(fc.integer({ min: 1000, max: 60_000 }), fc.integer({ max: 1000, min: 0 }))
      .map((some) => applicationSegments(...some)),
    fc.integer({ min: 140, max: 255 }).map(profile),
  )
}

/**
 * A progressive picture that is flat: one scan that has a bit for each block, and then scans that each have one more bit
 * of one coefficient of one component, as the standard allows, and nothing to say about any block.
 */
function scans(width: number, height: number, count: number, behind = 0): Hostile {
  const components = count > SCANS_OF_COMPONENT ? 3 : 1
  const blocks = Math.ceil(width / 8) * Math.ceil(height / 8)
  const make = () => {
    const none = emptyBlocks(blocks)
    const direct = join(scanHeader(range(components), 0, 0, 0), new Uint8Array(Math.ceil((blocks * components) / 8)))
    const others = range(count - 1).flatMap((i) => {
      const level = Math.floor(i / COEFFICIENTS) % LEVELS
      const coefficient = 1 + (i % COEFFICIENTS)
      const precision = (level === 0 ? 0 : LEVELS - level) * 16 + LEVELS - 1 - level
      return [scanHeader([Math.floor(i / SCANS_OF_COMPONENT)], coefficient, coefficient, precision), none]
    })
    const comments = repeat(Math.ceil(behind / 65_000), segment(COM, new Uint8Array(65_000)))
    return join(SOI, tables(SOF2, width, height, components), direct, comments, ...others, EOI)
  }
  const tooMany = count > MOST_SCANS ? ('image_unreadable' as const) : undefined
  return {
    ...{ name: `JPEG of ${width} × ${height} in ${count} scans${behind > 0 ? ` behind ${behind} bytes` : ''}` },
    ...{ mimeType: 'image/jpeg', make, structure: tooMany },
    door: (blocks * components) / 8 + behind + 200 * MOST_SCANS < MiB ? tooMany : undefined,
  }
}

const COEFFICIENTS = 63
const LEVELS = 14
const SCANS_OF_COMPONENT = COEFFICIENTS * LEVELS

/** What libvips keeps of a file beside its pixels, and copies. */
function applicationSegments(count: number, bytes: number): Hostile {
  const make = () => join(SOI, repeat(count, segment(APP9, new Uint8Array(bytes))), small().subarray(2))
  const seen = Math.min(count, MiB / (bytes + 4))
  return {
    ...{ name: `JPEG of ${count} segments of ${bytes} bytes`, mimeType: 'image/jpeg', make },
    // Where no picture begins within 1 MiB there is no size to read.
    door: seen > MOST_PIECES || seen < count ? 'image_unreadable' : undefined,
    structure: count > MOST_PIECES - 5 ? 'image_unreadable' : undefined,
  }
}

/** Behind the size, so that this is known without it. */
function profile(parts: number): Hostile {
  const part = (i: number) => segment(APP2, 'ICC_PROFILE\0', [i + 1, parts], new Uint8Array(65_000))
  const make = () => join(SOI, tables(SOF0, 16, 16), ...range(parts).map(part), smallScan(), EOI)
  return {
    ...{ name: `JPEG with a colour profile of ${parts * 65_000} bytes`, mimeType: 'image/jpeg', make },
    ...{ door: 'image_unreadable', structure: undefined },
  }
}

/** Pixels that are nothing but restart markers. */
function markers(count: number): Hostile {
  const make = () => join(small().subarray(0, -2), repeat(count, [0xff, 0xd0]), EOI)
  return {
    ...{ name: `JPEG with ${count} restart markers`, mimeType: 'image/jpeg', make },
    ...{ door: undefined, structure: undefined },
  }
}

/** An honest one, sequential, with a restart marker after each block, as some cameras write them. */
export function restartingJpeg(width: number, height: number): Bytes {
  const rounds = Math.ceil((width / 8) * (height / 8)) >> 3
  const blocks = repeat(rounds, ...range(8).map((i) => [0x07, 0xff, 0xd0 + i]))
  return join(SOI, tables(SOF0, width, height), segment(DRI, u16(1)), scanHeader([0], 0, 63, 0), blocks, EOI)
}

const small = () => join(SOI, tables(SOF0, 16, 16), smallScan(), EOI)
// Four blocks: no difference, no coefficients.
const smallScan = () => join(scanHeader([0], 0, 63, 0), [0, 0, 0x0f])

const range = (length: number) => Array.from({ length }, (_, i) => i)

/** `precision`: the bit position before and the one now (B.2.3). */
const scanHeader = (components: number[], first: number, last: number, precision: number) =>
  segment(SOS, [components.length], ...components.map((component) => [component, 0]), [first, last, precision])

function tables(frame: number, width: number, height: number, components = 1): Bytes {
  return join(
    segment(DQT, [0], repeat(64, [1])),
    segment(frame, [8], u16(height), u16(width), [components], ...range(components).map((i) => [i, 0x11, 0])),
    // Difference 0 is the code 0, one bit.
    segment(DHT, [0x00, 1], new Uint8Array(15), [0]),
    // Four bits each: runs of 2^n empty blocks, from 0000 for one block to 1110 for 16,384 and more.
    segment(
      DHT,
      [0x10, 0, 0, 0, 15],
      new Uint8Array(12),
      Uint8Array.from({ length: 15 }, (_, n) => n << 4),
    ),
  )
}

const LONGEST_RUN = 2 ** 15 - 1

/** So many blocks without coefficients (G.1.2.2). */
function emptyBlocks(count: number): Bytes {
  let bits = ''
  for (let left = count; left > 0; ) {
    const run = Math.min(left, LONGEST_RUN)
    const n = 31 - Math.clz32(run)
    bits += n.toString(2).padStart(4, '0') + (n > 0 ? (run - 2 ** n).toString(2).padStart(n, '0') : '')
    left -= run
  }
  const whole = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1')
  // A byte of ones is followed by a zero, so that it is no marker.
  return Uint8Array.from(
    (whole.match(/.{8}/g) ?? []).flatMap((byte) => (byte === '11111111' ? [0xff, 0] : [Number.parseInt(byte, 2)])),
  )
}
