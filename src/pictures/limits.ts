/** Limits on the size and structure of pictures, and the problems for exceeding them. */
import { Problem } from '../problem.ts'

/** Whether libvips (8.18) refused a picture for its number of pixels (`limitInputPixels`), by the error's text. */
export function isPixelLimit(text: string): boolean {
  return /pixel limit/i.test(text)
}

/** Size of one frame in pixels with the EXIF orientation applied, and the number of frames. */
export type PictureHeader = { width: number; height: number; frames: number }

/**
 * The serving process reads this much of a file at once, and looks for no more pieces behind it: it bounds the cost of a
 * hostile file and gives the same answer for every way of uploading. `Reading` finds a size that lies behind it.
 */
export const INSPECTED_BYTES = 1024 * 1024
/** Largest picture, in bytes, that is decoded: larger ones are scans and uncompressed files, not for display. */
export const MAX_DECODED_BYTES = 64 * 1024 * 1024
/** Largest result of a decoder, in bytes: the service holds all of it in memory. */
export const MAX_RESULT_BYTES = 96 * 1024 * 1024
/** Most pixels of a decoded picture: phones make 50 million. A decoder may need four bytes per pixel. */
export const MAX_DECODED_PIXELS = 64_000_000
/**
 * Most frames of an animation: some minutes, and few enough for decoders whose cost grows with the square of the number
 * (libwebp 1.6 takes 5 s to open 100,000 frames in 4 MiB).
 */
export const MAX_FRAMES = 10_000
/** Most scans of a JPEG. Encoders write 10; libjpeg processes all pixels again for each. */
export const MAX_SCANS = 100
/** Most bytes of a colour profile (uncompressed), and of EXIF, that a decoder is given. */
export const MAX_PROFILE_BYTES = 8 * 1024 * 1024
/** Most chunks, boxes, segments or blocks. */
const MAX_PIECES = 20_000
/** Pixel data may have more pieces: one for this many bytes of the file. */
const BYTES_PER_PIXEL_PIECE = 64

/** Counts the pieces of one file and throws Problem `image_unreadable` when there are too many. */
export function countPieces(fileBytes: number) {
  let pieces = 0
  let pixelPieces = 0
  const mostPixelPieces = MAX_PIECES + fileBytes / BYTES_PER_PIXEL_PIECE
  return {
    piece() {
      pieces += 1
      if (pieces > MAX_PIECES) unreadable('The picture has too many chunks, boxes, segments or blocks.')
    },
    pixelPiece() {
      pixelPieces += 1
      if (pixelPieces > mostPixelPieces) unreadable('The pixel data of the picture has too many chunks or blocks.')
    },
  }
}

/** @throws Problem `image_too_large` for an animation of more than `MAX_FRAMES` frames */
export function checkFrames(frames: number): void {
  if (frames > MAX_FRAMES) throw tooLarge(`The animation has more than ${MAX_FRAMES} frames.`)
}

export function tooLarge(detail: string): Problem {
  return new Problem('image_too_large', detail)
}

export function unreadable(
  detail = 'The file looks like a picture, but its size cannot be read.',
  cause?: unknown,
): never {
  throw new Problem('image_unreadable', detail, { cause })
}
