/** Makes renditions: sRGB, upright, without any metadata. */
import sharp, { type Sharp } from 'sharp'
import { timed } from '../observe/record.ts'
import { Problem } from '../problem.ts'
import { MAX_DECODED_PIXELS, type ProbeImage } from './image.ts'
import type { Format, Rendition } from './rendition.ts'

/**
 * The bytes of a rendition of a picture. Throws Problem `image_unreadable`, `image_too_large`, or `overloaded` when it
 * takes longer than `RENDER_SECONDS`.
 */
export type Render = (bytes: Uint8Array, mimeType: string, rendition: Rendition) => Promise<Uint8Array>

const RENDER_SECONDS = 10

const ANIMATED = new Set(['image/gif', 'image/webp'])

/** `probeImage` has seen no more than the beginning of a picture before it was stored. */
export function createRender({ probeImage }: { probeImage: ProbeImage }): Render {
  return async function render(bytes, mimeType, rendition) {
    await probeImage(bytes, mimeType)
    const animated = rendition.format === 'webp' && ANIMATED.has(mimeType)
    return timed('image', () =>
      // An animation of too many pixels in all its frames stands still.
      make(bytes, rendition, animated)
        .catch((error) => (animated && isTooLarge(error) ? make(bytes, rendition, false) : refuse(error)))
        .catch(refuse),
    )
  }
}

function make(
  bytes: Uint8Array,
  { width, height, fit, format, quality }: Rendition,
  animated: boolean,
): Promise<Uint8Array> {
  const options = { animated, limitInputPixels: MAX_DECODED_PIXELS, failOn: 'error', sequentialRead: true } as const
  const picture = sharp(bytes, options)
    .autoOrient()
    .timeout({ seconds: RENDER_SECONDS })
    .resize(width, height, { fit: fit === 'cover' ? 'cover' : 'fill' })
  return encoders[format](picture, quality).toBuffer()
}

const encoders: Record<Format, (picture: Sharp, quality: number) => Sharp> = {
  // The same number means more to AVIF; effort 4, the default, takes twice the time for a few per cent of the size.
  avif: (picture, quality) => picture.avif({ quality: quality - 20, effort: 2 }),
  webp: (picture, quality) => picture.webp({ quality }),
  jpeg: (picture, quality) => picture.flatten({ background: '#fff' }).jpeg({ quality }),
  png: (picture) => picture.png(),
}

function isTooLarge(error: unknown): boolean {
  return error instanceof Error && /pixel limit/i.test(error.message)
}

function refuse(error: unknown): never {
  if (error instanceof Problem) throw error
  if (isTooLarge(error)) throw new Problem('image_too_large', 'The picture has too many pixels for renditions.')
  if (error instanceof Error && /timeout/i.test(error.message))
    throw new Problem('overloaded', 'Making this rendition takes too long now. Try again.', { cause: error })
  throw new Problem('image_unreadable', 'The picture cannot be decoded.', { cause: error })
}
