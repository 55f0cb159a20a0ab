/** How much of a picture is read, decoded or made room for, and the problems that say so. */
import { Problem } from '../problem.ts'

/** Whether libvips (8.18) refused a picture for its pixels (`limitInputPixels`), by the text of its error. */
export function isPixelLimit(text: string): boolean {
  return /pixel limit/i.test(text)
}

/** Pixels of one frame, as a person sees it: orientation applied. */
export type PictureHeader = { width: number; height: number; frames: number }

/**
 * As much of a file as the serving process looks at: that bounds what a hostile one can cost, and makes the answer the
 * same for every way in. It is the limit of metadata before a picture, too: no camera writes more.
 */
export const INSPECTED_BYTES = 1024 * 1024
/** Largest picture, in bytes, that is decoded: larger ones are scans and raw pixels, which nobody shows as they are. */
export const MAX_DECODED_BYTES = 64 * 1024 * 1024
/** Largest picture, in bytes, that a decoder hands back: the service holds all of it. */
export const MAX_RESULT_BYTES = 96 * 1024 * 1024
/** Most pixels of a picture that are decoded: phones make 50 million. A decoder may need four bytes for each. */
export const MAX_DECODED_PIXELS = 64_000_000
/**
 * Most frames of an animation: minutes of it, and few enough for decoders whose cost grows with their square (libwebp
 * 1.6 takes 5 s to open 100,000 frames in 4 MiB).
 */
export const MAX_FRAMES = 10_000
/** Most scans of a JPEG. Encoders write 10; libjpeg goes over all pixels again for each. */
export const MAX_SCANS = 100
/** Most bytes of colour profiles, unpacked, and of EXIF that a decoder gets to see. */
export const MAX_PROFILE_BYTES = 8 * 1024 * 1024
/** Most chunks, boxes, segments or blocks. */
const MAX_PIECES = 20_000
/** Pixels may be in more pieces: in one for so many bytes of the file. */
const BYTES_PER_PIXEL_PIECE = 64

/** Counts the pieces of one file and throws Problem `image_unreadable` at the first that is too many. */
export function countPieces(fileBytes: number) {
  let pieces = 0
  let pixelPieces = 0
  const mostPixelPieces = MAX_PIECES + fileBytes / BYTES_PER_PIXEL_PIECE
  return {
    piece() {
      pieces += 1
      if (pieces > MAX_PIECES) unreadable('The picture consists of too many parts.')
    },
    pixelPiece() {
      pixelPieces += 1
      if (pixelPieces > mostPixelPieces) unreadable('The pixels of the picture are in too many parts.')
    },
  }
}

/** Throws Problem `image_too_large` for an animation of more frames than are decoded. */
export function checkFrames(frames: number): void {
  if (frames > MAX_FRAMES) throw tooLarge(`The animation has more than ${MAX_FRAMES} frames.`)
}

export function tooLarge(detail: string): Problem {
  return new Problem('image_too_large', detail)
}

export function unreadable(
  detail = 'The file looks like a picture, but its size cannot be read from its first 1 MiB.',
  cause?: unknown,
): never {
  throw new Problem('image_unreadable', detail, { cause })
}
