/** Makes renditions: sRGB, upright, without any metadata. */
import sharp, { type Sharp } from 'sharp'
import { Problem } from '../problem.ts'
import type { Format, Rendition } from './rendition.ts'

/**
 * The bytes of a rendition of a picture. Throws Problem `image_unreadable`, or `overloaded` when it takes longer than
 * `RENDER_SECONDS`.
 */
export type Render = (bytes: Uint8Array, mimeType: string, rendition: Rendition) => Promise<Uint8Array>

const RENDER_SECONDS = 10

const ANIMATED = new Set(['image/gif', 'image/webp'])

/** @param maxPixels that are decoded: an animation with more in all its frames stands still */
export function createRender({ maxPixels }: { maxPixels: number }): Render {
  return async function render(bytes, mimeType, rendition) {
    const animated = rendition.format === 'webp' && ANIMATED.has(mimeType)
    try {
      return await make(bytes, rendition, { limitInputPixels: maxPixels, animated })
    } catch (error) {
      if (animated && error instanceof Error && /pixel limit/i.test(error.message))
        return make(bytes, rendition, { limitInputPixels: maxPixels, animated: false }).catch(refuse)
      return refuse(error)
    }
  }
}

function make(
  bytes: Uint8Array,
  { width, height, fit, format, quality }: Rendition,
  options: { limitInputPixels: number; animated: boolean },
): Promise<Uint8Array> {
  const picture = sharp(bytes, { ...options, failOn: 'error', sequentialRead: true, autoOrient: true })
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

function refuse(error: unknown): never {
  if (error instanceof Error && /timeout/i.test(error.message))
    throw new Problem('overloaded', 'Making this rendition takes too long now. Try again.', { cause: error })
  throw new Problem('image_unreadable', 'The picture cannot be decoded.', { cause: error })
}
