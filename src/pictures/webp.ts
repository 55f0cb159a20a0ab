/** Reads the chunks of a WebP, https://developers.google.com/speed/webp/docs/riff_container */
import { fourCC, textAt, viewOf } from './bytes.ts'
import { checkFrames, countPieces, type PictureHeader } from './limits.ts'
import { readOrientation } from './tiff.ts'

const HEADER_BYTES = 12
const CHUNK_HEADER_BYTES = 8
// Position, size, duration and flags before the chunks of a frame.
const FRAME_HEADER_BYTES = 16
const VP8 = fourCC('VP8 ')
const VP8L = fourCC('VP8L')
const VP8X = fourCC('VP8X')
const ALPH = fourCC('ALPH')
const ANMF = fourCC('ANMF')
const EXIF = fourCC('EXIF')
// libwebp ignores EXIF unless the header's flag is set.
const EXIF_FLAG = 0x08

/**
 * Size and number of frames within these bytes (the beginning of a file, or all of it); undefined if they hold no
 * picture.
 * @throws Problem `image_unreadable` for too many chunks, `image_too_large` for too many frames
 */
export function readWebp(bytes: Uint8Array): PictureHeader | undefined {
  if (textAt(bytes, 0, 4) !== 'RIFF' || textAt(bytes, 8, 4) !== 'WEBP') return undefined
  const view = viewOf(bytes)
  const count = countPieces(bytes.length)
  const fileEnd = Math.min(bytes.length, CHUNK_HEADER_BYTES + view.getUint32(4, true))
  let canvas: [width: number, height: number] | undefined
  let still = false
  let frames = 0
  let hasExif = false
  let orientation: number | undefined
  let frameEnd = 0
  for (let at = HEADER_BYTES; at + CHUNK_HEADER_BYTES <= fileEnd; ) {
    const type = view.getUint32(at)
    const size = view.getUint32(at + 4, true)
    const data = at + CHUNK_HEADER_BYTES
    const end = Math.min(data + size, fileEnd)
    const next = data + size + (size % 2)
    if (at < frameEnd) {
      // A chunk inside a frame. libwebp reads all of them.
      if (type === VP8 || type === VP8L || type === ALPH) count.pixelPiece()
      else count.piece()
      at = next + CHUNK_HEADER_BYTES > frameEnd ? frameEnd : next
      continue
    }
    count.piece()
    at = next
    if (type === VP8X && data + 10 <= end) {
      canvas = [1 + (view.getUint32(data + 3, true) >>> 8), 1 + (view.getUint32(data + 6, true) >>> 8)]
      hasExif = (view.getUint8(data) & EXIF_FLAG) !== 0
    } else if (type === VP8 || type === VP8L) {
      canvas ??= type === VP8L ? losslessSize(view, data) : lossySize(view, data)
      still = true
    } else if (type === ANMF) {
      frames += 1
      checkFrames(frames)
      frameEnd = next
      at = Math.min(data + FRAME_HEADER_BYTES, frameEnd)
    } else if (type === EXIF && hasExif) orientation ??= readOrientation(bytes.subarray(data, end))
  }
  if (canvas === undefined || !(still || frames > 0)) return undefined
  const [width, height] = canvas
  // Of an animation it does not count, as in browsers; libvips cannot turn one either.
  const turned = frames <= 1 && orientation !== undefined && orientation > 4
  const upright = turned ? { width: height, height: width } : { width, height }
  return { ...upright, frames: Math.max(1, frames) }
}

/** Whether the header says that there is EXIF, which may lie behind the pixels. */
export function isWebpWithExif(bytes: Uint8Array): boolean {
  const flags = HEADER_BYTES + CHUNK_HEADER_BYTES
  return textAt(bytes, HEADER_BYTES, 4) === 'VP8X' && ((bytes[flags] ?? 0) & EXIF_FLAG) !== 0
}

/** RFC 6386, section 9.1; only a key frame holds the size. */
function lossySize(view: DataView, at: number): [number, number] | undefined {
  if (at + 10 > view.byteLength || view.getUint8(at) & 1 || view.getUint32(at + 2) % 2 ** 24 !== 0x9d012a)
    return undefined
  const [width, height] = [view.getUint16(at + 6, true) & 0x3fff, view.getUint16(at + 8, true) & 0x3fff]
  return width > 0 && height > 0 ? [width, height] : undefined
}

/** https://developers.google.com/speed/webp/docs/webp_lossless_bitstream_specification, section 3 */
function losslessSize(view: DataView, at: number): [number, number] | undefined {
  if (at + 5 > view.byteLength || view.getUint8(at) !== 0x2f) return undefined
  const bits = view.getUint32(at + 1, true)
  return [1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff)]
}
