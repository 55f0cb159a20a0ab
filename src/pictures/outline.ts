/**
 * Outlines of pictures: short files of the same size and orientation, without the metadata that makes the beginning of
 * a picture long (depth maps, colour profiles for print, texts), for the readers that need it in one piece.
 */
import { fourCC, textAt, viewOf } from './bytes.ts'
import { countPieces, INSPECTED_BYTES, unreadable } from './limits.ts'
import type { Reading } from './reading.ts'
import { directoryLayout, openTiff, TIFF_HEADER_BYTES } from './tiff.ts'

/** Undefined for a file that ends before it has declared its size. */
export type Outline = (reading: Reading) => Promise<Uint8Array | undefined>

const SOI_BYTES = 2
const SOS = 0xda
const EOI = 0xd9
const JPEG_MARKER_BYTES = 2
const JPEG_SEGMENT_BYTES = 4
const EXIF = 'Exif'

/** Up to its first scan; of the segments of applications those that libvips needs for the orientation and colours. */
export const outlineOfJpeg: Outline = async (reading) => {
  const count = countPieces(reading.sizeBytes)
  const kept = createKept(await reading.at(0, SOI_BYTES))
  let hasExif = false
  for (let at = SOI_BYTES; ; ) {
    const header = await reading.at(at, JPEG_SEGMENT_BYTES + EXIF.length)
    if (header.length < JPEG_SEGMENT_BYTES || header[0] !== 0xff) return undefined
    const marker = header[1] ?? EOI
    if (marker === EOI) return undefined
    // Fill bytes.
    if (marker === 0xff) {
      at += 1
      continue
    }
    count.piece()
    const bytes = JPEG_MARKER_BYTES + Math.max(2, viewOf(header).getUint16(JPEG_MARKER_BYTES))
    const isExif: boolean = marker === 0xe1 && textAt(header, JPEG_SEGMENT_BYTES, EXIF.length) === EXIF && !hasExif
    hasExif ||= isExif
    const isApplication = (marker >= 0xe0 && marker <= 0xef) || marker === 0xfe
    if (!isApplication || isExif || marker === 0xe0 || marker === 0xee) kept.add(await reading.at(at, bytes))
    if (marker === SOS) return kept.bytes()
    at += bytes
  }
}

const PNG_SIGNATURE_BYTES = 8
const CHUNK_FRAME_BYTES = 12
const CHUNK_HEADER_BYTES = 8
const IDAT = fourCC('IDAT')
const PNG_KEPT = new Set(['IHDR', 'PLTE', 'tRNS', 'eXIf', 'acTL'].map(fourCC))

/** Up to the header of its first pixels. */
export const outlineOfPng: Outline = async (reading) => {
  const count = countPieces(reading.sizeBytes)
  const kept = createKept(await reading.at(0, PNG_SIGNATURE_BYTES))
  for (let at = PNG_SIGNATURE_BYTES; ; ) {
    const header = await reading.at(at, CHUNK_HEADER_BYTES)
    if (header.length < CHUNK_HEADER_BYTES) return undefined
    count.piece()
    const view = viewOf(header)
    const [length, type] = [view.getUint32(0), view.getUint32(4)]
    // The readers stop here, but want to see a whole chunk begin.
    if (type === IDAT) kept.add(await reading.at(at, CHUNK_FRAME_BYTES))
    else if (PNG_KEPT.has(type)) kept.add(await reading.at(at, CHUNK_FRAME_BYTES + length))
    if (type === IDAT) return kept.bytes()
    at += CHUNK_FRAME_BYTES + length
  }
}

const RIFF_HEADER_BYTES = 12
const VP8X = fourCC('VP8X')
const VP8 = fourCC('VP8 ')
const VP8L = fourCC('VP8L')
const ANMF = fourCC('ANMF')
const WEBP_EXIF = fourCC('EXIF')
// Of the pixels, those that say the size; of a frame, less than the pixels in it.
const WEBP_PIXELS = new Map([
  [VP8, 10],
  [VP8L, 6],
  [ANMF, 16],
])

/** A still picture up to its EXIF, an animation up to its first frame. */
export const outlineOfWebp: Outline = async (reading) => {
  const count = countPieces(reading.sizeBytes)
  const kept = createKept(await reading.at(0, RIFF_HEADER_BYTES))
  for (let at = RIFF_HEADER_BYTES; ; ) {
    const header = await reading.at(at, CHUNK_HEADER_BYTES)
    if (header.length < CHUNK_HEADER_BYTES) break
    count.piece()
    const view = viewOf(header)
    const [type, length] = [view.getUint32(0), view.getUint32(4, true)]
    const part = type === VP8X || type === WEBP_EXIF ? length : WEBP_PIXELS.get(type)
    if (part !== undefined) {
      const data = await reading.at(at + CHUNK_HEADER_BYTES, Math.min(part, length))
      kept.add(Buffer.concat([header.subarray(0, 4), little32(data.length), data, new Uint8Array(data.length % 2)]))
    }
    if (type === WEBP_EXIF || type === ANMF) break
    at += CHUNK_HEADER_BYTES + length + (length % 2)
  }
  const bytes = kept.bytes()
  if (bytes.length < RIFF_HEADER_BYTES) return undefined
  viewOf(bytes).setUint32(4, bytes.length - CHUNK_HEADER_BYTES, true)
  return bytes
}

const GIF_HEADER_BYTES = 13
const GIF_DESCRIPTOR_BYTES = 10
const GIF_IMAGE = 0x2c
const GIF_EXTENSION = 0x21

/** The screen and the place of the first frame, without colours. */
export const outlineOfGif: Outline = async (reading) => {
  const count = countPieces(reading.sizeBytes)
  const header = (await reading.at(0, GIF_HEADER_BYTES)).slice()
  if (header.length < GIF_HEADER_BYTES) return undefined
  const flags = header[10] ?? 0
  header[10] = 0
  for (let at = GIF_HEADER_BYTES + (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0); ; at += 1) {
    const descriptor = (await reading.at(at, GIF_DESCRIPTOR_BYTES)).slice()
    if (descriptor[0] === GIF_IMAGE && descriptor.length === GIF_DESCRIPTOR_BYTES) {
      descriptor[9] = 0
      // The least of pixels, then the end.
      return Buffer.concat([header, descriptor, Uint8Array.of(2, 0, 0x3b)])
    }
    if (descriptor[0] !== GIF_EXTENSION) return undefined
    count.piece()
    at += 2
    for (let [length] = await reading.at(at, 1); length; [length] = await reading.at(at, 1)) {
      count.pixelPiece()
      at += 1 + length
    }
  }
}

/** The header, then the first directory, wherever it is. Values that lie outside the directory are left out. */
export const outlineOfTiff: Outline = async (reading) => {
  const header = (await reading.at(0, TIFF_HEADER_BYTES)).slice()
  const file = openTiff(header)
  if (file === undefined) return undefined
  const { view, little, big, first } = file
  const { counter, entry, next } = directoryLayout(file)
  if (big) view.setBigUint64(8, BigInt(TIFF_HEADER_BYTES), little)
  else view.setUint32(4, TIFF_HEADER_BYTES, little)
  const counted = await reading.at(first, counter)
  if (counted.length < counter) return undefined
  const entries = big ? Number(viewOf(counted).getBigUint64(0, little)) : viewOf(counted).getUint16(0, little)
  const kept = createKept(header)
  // With the offset of the next directory, which is not followed.
  kept.add(await reading.at(first, Math.min(INSPECTED_BYTES, counter + entries * entry + next)))
  return kept.bytes()
}

function little32(n: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(n)
  return bytes
}

/** Collects what an outline keeps: at most `INSPECTED_BYTES`. */
function createKept(first: Uint8Array) {
  const pieces = [first.slice()]
  let bytes = first.length
  return {
    add(piece: Uint8Array) {
      bytes += piece.length
      if (bytes > INSPECTED_BYTES) unreadable()
      // A copy, so that windows of the file that were read do not stay in memory.
      pieces.push(piece.slice())
    },
    bytes: (): Uint8Array => Buffer.concat(pieces),
  }
}
