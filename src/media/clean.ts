/** Pictures for everyone: at full size, in their own format, without what their makers may not mean to tell. */
import sharp, { type Sharp } from 'sharp'
import { timed } from '../observe/record.ts'
import type { ProbeImage } from '../pictures/image.ts'
import { MAX_DECODED_BYTES, MAX_DECODED_PIXELS } from '../pictures/limits.ts'
import { isAnimatedPng, pixelsOfPng } from '../pictures/png.ts'
import { Problem } from '../problem.ts'
import type { StoredObject } from './object.ts'

/**
 * The same picture without metadata (EXIF with its position, XMP, IPTC, comments, whatever else is in the file):
 * orientation applied, in sRGB, with all frames of an animation. Throws Problem `image_unreadable`, `image_too_large`, or
 * `overloaded` when it takes longer than `CLEAN_SECONDS`.
 */
export type Clean = (bytes: Uint8Array, mimeType: string) => Promise<Uint8Array>

const CLEAN_SECONDS = 15
// Frames are decoded one after the other.
const MAX_PIXELS_OF_ALL_FRAMES = 100_000_000

/**
 * `most`: pixels of a still picture. The first four read and write it by the line. libwebp (1.6) takes 12 bytes for each
 * pixel, and fails with many that are full of detail; libaom (3.15) takes 36.
 */
const WRITERS: Record<string, { most: number; write: (picture: Sharp) => Sharp }> = {
  // Optimized tables would need all of the picture at once.
  'image/jpeg': { most: MAX_DECODED_PIXELS, write: (picture) => picture.jpeg({ quality: 90, optimizeCoding: false }) },
  'image/png': { most: MAX_DECODED_PIXELS, write: (picture) => picture.png() },
  'image/gif': { most: MAX_DECODED_PIXELS, write: (picture) => picture.gif() },
  'image/tiff': { most: MAX_DECODED_PIXELS, write: (picture) => picture.tiff({ compression: 'deflate' }) },
  // More effort takes seconds for a few per cent.
  'image/webp': { most: 16_000_000, write: (picture) => picture.webp({ quality: 90, effort: 1 }) },
  'image/avif': { most: 12_500_000, write: (picture) => picture.avif({ quality: 70, effort: 0 }) },
}
const ANIMATED = new Set(['image/webp', 'image/gif'])

/** `probeImage` has seen no more than the beginning of a picture before it was stored. */
export function createClean({ probeImage }: { probeImage: ProbeImage }): Clean {
  return async function clean(bytes, mimeType) {
    const { write, most } = writerOf(mimeType)
    await probeImage(bytes, mimeType)
    if (isAnimatedPng(bytes)) return pixelsOfPng(bytes)
    const animated = ANIMATED.has(mimeType)
    const limitInputPixels = animated ? MAX_PIXELS_OF_ALL_FRAMES : most
    const picture = sharp(bytes, { animated, limitInputPixels, failOn: 'none', sequentialRead: true })
    try {
      return await timed('image', () => write(picture.timeout({ seconds: CLEAN_SECONDS }).autoOrient()).toBuffer())
    } catch (error) {
      if (error instanceof Error && /pixel limit/i.test(error.message)) throw tooLarge()
      if (error instanceof Error && /timeout/i.test(error.message))
        throw new Problem('overloaded', 'Freeing the picture of its metadata takes too long now. Try again.')
      return unreadable(error)
    }
  }
}

/** Throws Problem `image_unreadable` or `image_too_large` for what `Clean` would refuse, before its bytes are read. */
export function checkSize({ mimeType, sizeBytes, metadata }: StoredObject): void {
  const { most } = writerOf(mimeType)
  const pixels = (metadata.width ?? 0) * (metadata.height ?? 0)
  if (sizeBytes > MAX_DECODED_BYTES || pixels > most) throw tooLarge()
}

function writerOf(mimeType: string) {
  // An animated PNG is of one type or the other, by how early it says so.
  return WRITERS[mimeType === 'image/apng' ? 'image/png' : mimeType] ?? unreadable()
}

function tooLarge(): Problem {
  return new Problem('image_too_large', 'The picture is too large to be freed of its metadata; only its owner gets it.')
}

export function unreadable(cause?: unknown): never {
  const detail = 'The picture cannot be freed of its metadata; only its owner gets it.'
  throw new Problem('image_unreadable', detail, { cause })
}
