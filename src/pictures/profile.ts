/**
 * Colour profiles (ICC.1:2001-04) for colours that a file describes by code points (CICP, ITU-T H.273), which libvips
 * 8.18 does not read.
 */
import { hlgLight, pqLight, toneMapped } from './hdr.ts'
import { diagonal, inverse, type Matrix, product, type Triple, times, transposed } from './matrix.ts'

/**
 * Code points of `ColourPrimaries` and `TransferCharacteristics`. `video`: the curve that those of video stand for, as
 * Chromium has it: in AVIF that of sRGB, in PNG their own.
 */
type Cicp = { primaries: number; transfer: number; video: 'sRGB' | 'BT.1886' }

type Point = [x: number, y: number]

const UNSPECIFIED = 2
const SRGB: [Point, Point, Point, white: Point] = [
  [0.64, 0.33],
  [0.3, 0.6],
  [0.15, 0.06],
  [0.3127, 0.329],
]
const [, , , D65] = SRGB
const D50: Triple = [0.9642, 1, 0.8249]
const PRIMARIES = new Map<number, typeof SRGB>([
  [1, SRGB],
  [UNSPECIFIED, SRGB],
  [
    4,
    [
      [0.67, 0.33],
      [0.21, 0.71],
      [0.14, 0.08],
      [0.31, 0.316],
    ],
  ],
  [5, [[0.64, 0.33], [0.29, 0.6], [0.15, 0.06], D65]],
  [6, [[0.63, 0.34], [0.31, 0.595], [0.155, 0.07], D65]],
  [7, [[0.63, 0.34], [0.31, 0.595], [0.155, 0.07], D65]],
  [9, [[0.708, 0.292], [0.17, 0.797], [0.131, 0.046], D65]],
  [
    11,
    [
      [0.68, 0.32],
      [0.265, 0.69],
      [0.15, 0.06],
      [0.314, 0.351],
    ],
  ],
  [12, [[0.68, 0.32], [0.265, 0.69], [0.15, 0.06], D65]],
])

const srgbLight = (code: number) => (code <= 0.04045 ? code / 12.92 : ((code + 0.055) / 1.055) ** 2.4)
// ITU-R BT.1886.
const videoLight = (code: number) => code ** 2.4
const VIDEO = new Set([1, 6, 14, 15])
/** From a code of 0 to 1 to light. */
const CURVES = new Map<number, (code: number) => number>([
  ...[UNSPECIFIED, 13].map((transfer) => [transfer, srgbLight] as const),
  [4, (code) => code ** 2.2],
  [5, (code) => code ** 2.8],
  [8, (code) => code],
])
/** High dynamic range, as a display without it shows it. */
const TONE_MAPPED = new Map<number, (codes: Triple) => Triple>([
  [16, (codes) => toneMapped(pqLight(codes))],
  [18, (codes) => toneMapped(hlgLight(codes))],
])

// A table takes 0.1 s to make.
const made = new Map<string, Uint8Array | undefined>()

/** Undefined for sRGB, and for code points that are of no use in pictures. */
export function profileOf(cicp: Cicp): Uint8Array | undefined {
  const name = Object.values(cicp).join(' ')
  if (!made.has(name)) made.set(name, make(cicp))
  return made.get(name)
}

function make({ primaries, transfer, video }: Cicp): Uint8Array | undefined {
  const colours = PRIMARIES.get(primaries)
  if (colours === undefined) return undefined
  const shown = TONE_MAPPED.get(transfer)
  if (shown !== undefined) return tableProfile(toXyz(colours), shown)
  const curve = VIDEO.has(transfer) ? { sRGB: srgbLight, 'BT.1886': videoLight }[video] : CURVES.get(transfer)
  if (curve === undefined || (curve === srgbLight && colours === SRGB)) return undefined
  return matrixProfile(toXyz(colours), curve)
}

const CURVE_POINTS = 1024

/** A profile of three colours, and one curve for all of them. */
function matrixProfile(matrix: Matrix, curve: (code: number) => number): Uint8Array {
  const colour = (n: 0 | 1 | 2) => tagOf('XYZ ', ...matrix.map((row) => fixed(row[n])))
  const points = Array.from({ length: CURVE_POINTS }, (_, i) => u16(65_535 * curve(i / (CURVE_POINTS - 1))))
  const trc = tagOf('curv', u32(CURVE_POINTS), ...points)
  return profileWith('XYZ ', { rXYZ: colour(0), gXYZ: colour(1), bXYZ: colour(2), rTRC: trc, gTRC: trc, bTRC: trc })
}

const GRID = 33

/** A table from codes to CIELAB, because tone mapping looks at all three colours at once. */
function tableProfile(matrix: Matrix, shown: (codes: Triple) => Triple): Uint8Array {
  const table = Buffer.alloc(GRID ** 3 * 6)
  for (let i = 0; i < GRID ** 3; i += 1) {
    const code = (step: number) => (Math.floor(i / step) % GRID) / (GRID - 1)
    const xyz = times(matrix, shown([code(GRID ** 2), code(GRID), code(1)]))
    for (const [n, value] of labOf(xyz).entries()) table.set(u16(value), 6 * i + 2 * n)
  }
  const identity = [1, 0, 0, 0, 1, 0, 0, 0, 1].map(fixed)
  const straight = [0, 65_535, 0, 65_535, 0, 65_535].map(u16)
  const sizes = Uint8Array.of(3, 3, GRID, 0)
  return profileWith('Lab ', {
    A2B0: tagOf('mft2', sizes, ...identity, u16(2), u16(2), ...straight, table, ...straight),
  })
}

/** CIELAB as `lut16Type` has it. */
function labOf([x, y, z]: Triple): Triple {
  const f = (t: number) => (t > 216 / 24_389 ? Math.cbrt(t) : ((24_389 / 27) * t + 16) / 116)
  const [fx, fy, fz] = [f(x / D50[0]), f(y / D50[1]), f(z / D50[2])]
  return [(116 * fy - 16) * 652.8, (500 * (fx - fy) + 128) * 256, (200 * (fy - fz) + 128) * 256]
}

// https://www.color.org/specification/ICC.1-2022-05.pdf, annex E
const BRADFORD: Matrix = [
  [0.8951, 0.2664, -0.1614],
  [-0.7502, 1.7135, 0.0367],
  [0.0389, -0.0685, 1.0296],
]

/** From light in these colours to CIE XYZ, adapted to the white D50. */
function toXyz([red, green, blue, white]: typeof SRGB): Matrix {
  const xyz = ([x, y]: Point): Triple => [x / y, 1, (1 - x - y) / y]
  const colours = transposed([xyz(red), xyz(green), xyz(blue)])
  const own = product(colours, diagonal(times(inverse(colours), xyz(white))))
  const [from, to] = [times(BRADFORD, xyz(white)), times(BRADFORD, D50)]
  const adapting = diagonal([to[0] / from[0], to[1] / from[1], to[2] / from[2]])
  return product(product(inverse(BRADFORD), product(adapting, BRADFORD)), own)
}

const HEADER_BYTES = 128
const ENTRY_BYTES = 12

function profileWith(space: string, tags: Record<string, Uint8Array>): Uint8Array {
  const all = Object.entries({ desc: DESCRIPTION, cprt: COPYRIGHT, wtpt: WHITE_POINT, ...tags })
  const datas = [...new Set(all.map(([, data]) => data))]
  let end = HEADER_BYTES + 4 + ENTRY_BYTES * all.length
  const starts = new Map<Uint8Array, number>()
  for (const data of datas) {
    starts.set(data, end)
    end += data.length
  }
  const entries = all.map(([name, data]) => joined(name, u32(starts.get(data) ?? 0), u32(data.length)))
  const illuminant = D50.map(fixed)
  const header = Buffer.alloc(HEADER_BYTES)
  header.set(u32(end))
  header.set(joined(u32(0x02400000), 'mntrRGB ', space), 8)
  header.set(joined('acsp'), 36)
  header.set(joined(...illuminant), 68)
  return joined(header, u32(all.length), ...entries, ...datas)
}

/** The data of a tag, filled up to a multiple of four bytes. */
function tagOf(type: string, ...data: (string | Uint8Array)[]): Uint8Array {
  const bytes = joined(type, u32(0), ...data)
  return joined(bytes, new Uint8Array(-bytes.length & 3))
}

const WHITE_POINT = tagOf('XYZ ', ...D50.map(fixed))
const COPYRIGHT = tagOf('text', '-\0')
// A description in ASCII, and none in Unicode or for Macintosh.
const DESCRIPTION = tagOf('desc', u32(5), 'CICP\0', new Uint8Array(78))

function joined(...parts: (string | Uint8Array)[]): Uint8Array {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)))
}

function u32(n: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(n)
  return bytes
}

/** Rounded, and within 16 bits. */
function u16(n: number): Uint8Array {
  const whole = Math.min(65_535, Math.max(0, Math.round(n)))
  return Uint8Array.of(whole >> 8, whole & 255)
}

/** `s15Fixed16Number`. */
function fixed(n: number): Uint8Array {
  return u32(Math.round(n * 65_536) >>> 0)
}
