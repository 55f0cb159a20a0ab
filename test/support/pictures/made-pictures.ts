/** Pictures that are easier made than kept: each is here for what it would cost, or for what it pretends to be. */
import { deflateSync } from 'node:zlib'
import { heic, turn } from './heic.ts'
import {
  type Bytes,
  box,
  chunk,
  fullBox,
  join,
  little16,
  little24,
  little32,
  type Piece,
  repeat,
  riffChunk,
  segment,
  u16,
  u32,
} from './picture-pieces.ts'

/** By the name that the manifest has for it; `rocket` is an ordinary JPEG of 640 × 427 pixels. */
export function makePicture(file: string, rocket: Bytes): Bytes {
  const make = pictures[file]
  if (make === undefined) throw new Error(`Nothing makes ${file}`)
  return make(rocket)
}

const pictures: Record<string, (rocket: Bytes) => Bytes> = {
  'made/100000-frames.gif': () => gif(1, 1, repeat(100_000, gifFrame(1, 1))),
  'made/100000-frames.webp': () => animatedWebp(1, 1, 100_000),
  'made/4-billion-frames.png': () => png(1, 1, text(5000), chunk('acTL', u32(0xffffffff), u32(0))),
  'made/17-million-frames.avif': () => join(avif(10, 10, 'avif', 'avis'), film(17_000_000)),
  'made/sequence.avif': () => join(avif(10, 10, 'avis', 'avif'), film(5)),
  'made/100-frames-of-36-megapixels.gif': () => gif(6000, 6000, repeat(100, gifFrame(6000, 6000))),
  'made/100-frames-of-36-megapixels.webp': () => animatedWebp(6000, 6000, 100),
  'made/frame-larger-than-screen.gif': () => gif(1, 1, gifFrame(65_535, 65_535)),
  'made/claims-16-gigapixels.avif': () => avif(0x1ffff, 0x1ffff, 'avif'),
  'made/60000-references.avif': () => avif(10, 10, 'avif', 'mif1', manyReferences),

  'made/2-mib-of-exif.jpg': (rocket) => jpeg(rocket, repeat(32, exif(new Uint8Array(65_000)))),
  'made/2-mib-of-profile.jpg': (rocket) =>
    jpeg(rocket, ...range(32).map((i) => segment(0xe2, 'ICC_PROFILE\0', [i + 1, 32], new Uint8Array(65_000)))),
  'made/half-a-million-comments.jpg': (rocket) => jpeg(rocket, repeat(500_000, segment(0xfe))),
  'made/2-mib-of-text.png': () => png(1, 1, text(2 * MiB)),
  'made/2-mib-of-profile.webp': () =>
    webp(extended(0x20, 1, 1), riffChunk('ICCP', new Uint8Array(2 * MiB)), lossless(1, 1)),
  'made/2-mib-of-comments.gif': () =>
    gif(1, 1, repeat(8192, [0x21, 0xfe, 255], new Uint8Array(255), [0]), gifFrame(1, 1)),

  'made/zero-pixels.png': () => png(0, 0),
  'made/zero-pixels.gif': () => gif(0, 0, gifFrame(0, 0)),
  'made/zero-pixels.avif': () => avif(0, 0, 'avif'),
  'made/no-frames.gif': () => gif(5, 5),
  'made/cut-in-its-header.jpg': (rocket) => rocket.slice(0, 158),
  'made/cut-in-its-header.png': () => png(5, 5).slice(0, 20),
  'made/cut-in-its-header.webp': () => webp(lossless(5, 5)).slice(0, 22),
  'made/cut-in-its-header.gif': () => gif(5, 5, gifFrame(5, 5)).slice(0, 20),
  'made/cut-in-its-header.avif': () => avif(5, 5, 'avif').slice(0, 200),

  'made/javascript.gif': () => join('GIF89a/*', new Uint8Array(50), '*/=1;alert(document.domain)//;'),
  'made/pdf-before-jpeg.jpg': (rocket) => join('%PDF-1.4\n', rocket),
  'made/html-before-png.png': () => join('<script>alert(1)</script>', png(1, 1)),
  'made/phone.heic': () => avif(10, 10, 'heic'),
  'made/huge-index.mp4': () => join(box('ftyp', 'isom', u32(0), 'isom'), u32(0xfffffff0), 'moov', new Uint8Array(1000)),
  'made/huge-tag.mp3': () => join('ID3', [4, 0, 0, 0x7f, 0x7f, 0x7f, 0x7f], new Uint8Array(5000)),
  'made/film.webm': () => join(ebml, new Uint8Array(1000)),

  'made/512-mib-of-text.png': () => png(1, 1, repeat(64, chunk('zTXt', 'Comment\0\0', deflated(8 * MiB - 1024)))),
  'made/100-mib-of-profile.png': () => png(1, 1, chunk('iCCP', 'profile\0\0', deflated(100 * MiB))),
  'made/orientation-9.jpg': (rocket) => jpeg(rocket, exif(orientation(9))),
  'made/circular-exif.jpg': (rocket) =>
    jpeg(rocket, exif('II*\0', [8, 0, 0, 0, 1, 0, 0x69, 0x87, 4, 0, 1, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0])),
  'made/orientation-6.webp': () => webp(extended(0x08, 7, 5), lossless(7, 5), riffChunk('EXIF', orientation(6))),
  'made/orientation-6.png': () => png(7, 5, chunk('eXIf', orientation(6))),
  'made/tiles-on-their-side.heic': () =>
    heic({ columns: 3, rows: 2, width: 700, height: 500, properties: [turn(1)], exif: orientation(3) }),
  'made/three-frames.webp': () => animatedWebp(7, 5, 3),
  'made/three-frames.png': () => png(7, 5, chunk('acTL', u32(3), u32(0))),
  'made/21000-chunks.webp': () => webp(extended(0, 7, 5), lossless(7, 5), repeat(21_000, riffChunk('JUNK'))),
  'made/21000-texts.png': () => png(7, 5, repeat(21_000, text(0))),
  'made/21000-extensions.gif': () => gif(7, 5, gifFrame(7, 5), repeat(21_000, [0x21, 0xfe, 0])),
  'made/21000-boxes.avif': () => join(avif(7, 5, 'avif'), repeat(21_000, box('free'))),
  'made/21000-comments.jpg': (rocket) => jpeg(rocket, repeat(21_000, segment(0xfe))),
  'made/101-scans.jpg': (rocket) =>
    join(rocket.subarray(0, -2), repeat(100, segment(0xda, [1, 1, 0, 0, 63, 0])), [0xff, 0xd9]),
  'made/19000-chunks.webp': () => webp(extended(0, 7, 5), lossless(7, 5), repeat(19_000, riffChunk('JUNK'))),
  'made/90-scans.jpg': (rocket) =>
    join(rocket.subarray(0, -2), repeat(89, segment(0xda, [1, 1, 0, 0, 63, 0])), [0xff, 0xd9]),
  'made/javascript-in-comment.gif': () =>
    gif(7, 5, [0x21, 0xfe, 22], '*/=1;alert(document);/*'.slice(0, 22), [0], gifFrame(7, 5)),
}

const MiB = 1024 * 1024

const range = (length: number) => Array.from({ length }, (_, i) => i)
const deflated = (zeros: number) => deflateSync(new Uint8Array(zeros), { level: 9 })

export function png(width: number, height: number, ...chunks: Uint8Array[]): Bytes {
  const header = chunk('IHDR', u32(width), u32(height), [8, 0, 0, 0, 0])
  const pixels = chunk('IDAT', deflateSync(new Uint8Array((width + 1) * height)))
  return join([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], header, ...chunks, pixels, chunk('IEND'))
}

export const text = (length: number) => chunk('tEXt', 'Comment\0', new Uint8Array(length).fill(0x41))

export function gif(width: number, height: number, ...blocks: Piece[]): Bytes {
  return join('GIF89a', little16(width), little16(height), [0x80, 0, 0, 0, 0, 0, 255, 255, 255], ...blocks, [0x3b])
}

export function gifFrame(width: number, height: number): Bytes {
  return join([0x2c, 0, 0, 0, 0], little16(width), little16(height), [0, 2, 2, 0x44, 1, 0])
}

export function webp(...chunks: Uint8Array[]): Bytes {
  const body = join('WEBP', ...chunks)
  return join('RIFF', little32(body.length), body)
}

export const extended = (flags: number, width: number, height: number) =>
  riffChunk('VP8X', [flags, 0, 0, 0], little24(width - 1), little24(height - 1))

export const lossless = (width: number, height: number) =>
  riffChunk('VP8L', [0x2f], little32((width - 1) | ((height - 1) << 14)), [0x88, 0x88, 0x08])

function animatedWebp(width: number, height: number, frames: number): Bytes {
  const place = [...little24(0), ...little24(0), ...little24(0), ...little24(0), ...little24(100), 0]
  const frame = riffChunk('ANMF', place, lossless(1, 1))
  return webp(extended(0x02, width, height), riffChunk('ANIM', new Uint8Array(6)), repeat(frames, frame))
}

/** The rocket with segments behind its first two bytes. */
function jpeg(rocket: Bytes, ...segments: Uint8Array[]): Bytes {
  return join(rocket.subarray(0, 2), ...segments, rocket.subarray(2))
}

const exif = (...tiff: Piece[]) => segment(0xe1, 'Exif\0\0', ...tiff)

export const orientation = (value: number) =>
  join('II*\0', little32(8), little16(1), little16(0x112), little16(3), little32(1), little32(value), little32(0))

const av1Settings = box('av1C', [0x81, 0, 0x0c, 0])
const manyReferences = fullBox('iref', 0, 0, box('dimg', u16(1), u16(60_000), repeat(60_000, u16(1))))

function avif(width: number, height: number, brand: string, compatible = 'mif1', ...more: Uint8Array[]): Bytes {
  const size = fullBox('ispe', 0, 0, u32(width), u32(height))
  const channels = fullBox('pixi', 0, 0, [3, 8, 8, 8])
  const meta = fullBox(
    ...(['meta', 0, 0] as const),
    fullBox('hdlr', 0, 0, u32(0), 'pict', new Uint8Array(13)),
    fullBox('pitm', 0, 0, u16(1)),
    fullBox('iloc', 0, 0, [0x44, 0], u16(1), u16(1), u16(0), u16(1), u32(0), u32(10)),
    fullBox('iinf', 0, 0, u16(1), fullBox('infe', 2, 0, u16(1), u16(0), 'av01', [0])),
    ...more,
    box('iprp', box('ipco', av1Settings, size, channels), fullBox('ipma', 0, 0, u32(1), u16(1), [3, 0x81, 2, 3])),
  )
  return join(box('ftyp', brand, u32(0), brand, compatible), meta, box('mdat', new Uint8Array(20)))
}

/** A track of so many frames of one byte each, which takes no more room for more of them. */
export function film(frames: number): Bytes {
  const sample = box(
    ...(['av01', new Uint8Array(6), [0, 1], new Uint8Array(16), u16(10), u16(10)] as const),
    ...[u32(0x480000), u32(0x480000), u32(0), [0, 1], new Uint8Array(32), u16(24), [255, 255], av1Settings],
  )
  const table = box(
    'stbl',
    fullBox('stsd', 0, 0, u32(1), sample),
    fullBox('stts', 0, 0, u32(1), u32(frames), u32(1)),
    fullBox('stsc', 0, 0, u32(1), u32(1), u32(frames), u32(1)),
    fullBox('stsz', 0, 0, u32(1), u32(frames)),
    fullBox('stco', 0, 0, u32(1), u32(1000)),
  )
  const place = box('dinf', fullBox('dref', 0, 0, u32(1), fullBox('url ', 0, 1)))
  const media = box(
    'mdia',
    fullBox('mdhd', 0, 0, new Uint8Array(8), u32(1000), u32(1000), u32(0)),
    fullBox('hdlr', 0, 0, u32(0), 'pict', new Uint8Array(13)),
    box('minf', fullBox('vmhd', 0, 1, new Uint8Array(8)), place, table),
  )
  const times = [new Uint8Array(8), u32(1000), u32(1000), u32(0x10000), [1, 0]]
  const header = fullBox('mvhd', 0, 0, ...times, new Uint8Array(70), u32(2))
  const track = [new Uint8Array(8), u32(1), u32(0), u32(1000), new Uint8Array(52), u32(10 << 16), u32(10 << 16)]
  return box('moov', header, box('trak', fullBox('tkhd', 0, 1, ...track), media))
}

const ebml = [0x1a, 0x45, 0xdf, 0xa3, 0x8b, 0x42, 0x82, 0x84, 0x77, 0x65, 0x62, 0x6d, 0x42, 0x87, 0x81, 0x02]
