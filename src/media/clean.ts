/** Pictures for everyone: at full size, in their own format, without what their makers may not mean to tell. */
import sharp, { type Sharp } from 'sharp'
import { timed } from '../observe/record.ts'
import { Problem } from '../problem.ts'
import { MAX_DECODED_BYTES, MAX_DECODED_PIXELS, type ProbeImage } from './image.ts'
import type { StoredObject } from './object.ts'

/**
 * The same picture without metadata (EXIF with its position, XMP, IPTC, comments, whatever else is in the file):
 * orientation applied, in sRGB, with all frames of an animation. Throws Problem `image_unreadable` or `image_too_large`.
 */
export type Clean = (bytes: Uint8Array, mimeType: string) => Promise<Uint8Array>

// Frames are decoded one after the other.
const MAX_PIXELS_OF_ALL_FRAMES = 100_000_000
const DEADLINE_SECONDS = 15

const WRITERS: Record<string, (picture: Sharp) => Sharp> = {
  'image/jpeg': (picture) => picture.jpeg({ quality: 90, optimizeCoding: false }),
  'image/png': (picture) => picture.png(),
  'image/webp': (picture) => picture.webp({ quality: 90, effort: 1 }),
  'image/gif': (picture) => picture.gif(),
  // More effort takes seconds for each megapixel.
  'image/avif': (picture) => picture.avif({ quality: 70, effort: 0 }),
  'image/tiff': (picture) => picture.tiff({ compression: 'deflate' }),
}
const ANIMATED = new Set(['image/webp', 'image/gif'])

/** `probeImage` has seen no more than the beginning of a picture before it was stored. */
export function createClean({ probeImage }: { probeImage: ProbeImage }): Clean {
  return async function clean(bytes, mimeType) {
    const write = WRITERS[mimeType]
    if (write === undefined) throw unreadable()
    await probeImage(bytes, mimeType)
    const animated = ANIMATED.has(mimeType)
    const picture = sharp(bytes, {
      animated,
      failOn: 'none',
      limitInputPixels: animated ? MAX_PIXELS_OF_ALL_FRAMES : MAX_DECODED_PIXELS,
      sequentialRead: true,
    })
    try {
      return await timed('image', () => write(picture.timeout({ seconds: DEADLINE_SECONDS }).autoOrient()).toBuffer())
    } catch (error) {
      if (error instanceof Error && /pixel limit/i.test(error.message)) throw tooLarge()
      throw unreadable(error)
    }
  }
}

/** Throws Problem `image_too_large` for a still picture that `Clean` would refuse, before its bytes are read. */
export function checkSize({
  sizeBytes,
  metadata: { width, height },
}: Pick<StoredObject, 'sizeBytes' | 'metadata'>): void {
  if (sizeBytes > MAX_DECODED_BYTES || (width ?? 0) * (height ?? 0) > MAX_DECODED_PIXELS) throw tooLarge()
}

function tooLarge(): Problem {
  return new Problem('image_too_large', 'The picture is too large to be freed of its metadata; only its owner gets it.')
}

export function unreadable(cause?: unknown): Problem {
  const detail = 'The picture cannot be freed of its metadata; only its owner gets it.'
  return new Problem('image_unreadable', detail, { cause })
}
