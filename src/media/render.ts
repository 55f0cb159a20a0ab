/** Makes renditions: sRGB, upright, without any metadata. */
import sharp, { type Sharp } from 'sharp'
import { timed } from '../observe/record.ts'
import type { ProbeImage } from '../pictures/image.ts'
import { MAX_DECODED_PIXELS } from '../pictures/limits.ts'
import { Problem } from '../problem.ts'
import type { Placeholder } from './object.ts'
import { placeholderOf } from './placeholder.ts'
import type { Format, Rendition } from './rendition.ts'

/**
 * The bytes of a rendition of a picture; and a placeholder, where one is wanted and costs next to nothing. Throws Problem `image_unreadable`, `image_too_large`, or `overloaded` when it
 * takes longer than `RENDER_SECONDS`.
 */
export type Render = (
  bytes: Uint8Array,
  mimeType: string,
  rendition: Rendition,
  wanted: { placeholder: boolean },
) => Promise<Made>

export type Made = { bytes: Uint8Array; placeholder: Placeholder | undefined }

const RENDER_SECONDS = 10

// Of a rendition whose pixels are held in memory to be used twice.
const FEW_PIXELS = 2_000_000

const ANIMATED = new Set(['image/gif', 'image/webp'])

/** `probeImage` has seen no more than the beginning of a picture before it was stored. */
export function createRender({ probeImage }: { probeImage: ProbeImage }): Render {
  return async function render(bytes, mimeType, rendition, wanted) {
    await probeImage(bytes, mimeType)
    const animated = rendition.format === 'webp' && ANIMATED.has(mimeType)
    return timed('image', () =>
      // An animation of too many pixels in all its frames stands still.
      make(bytes, rendition, { animated, ...wanted })
        .catch((error) => {
          if (!animated || !isTooLarge(error)) throw error
          return make(bytes, rendition, { animated: false, ...wanted })
        })
        .catch(refuse),
    )
  }
}

async function make(
  bytes: Uint8Array,
  { width, height, fit, format, quality }: Rendition,
  { animated, placeholder: wanted }: { animated: boolean; placeholder: boolean },
): Promise<Made> {
  const options = { animated, limitInputPixels: MAX_DECODED_PIXELS, failOn: 'error', sequentialRead: true } as const
  const picture = sharp(bytes, options)
    .autoOrient()
    .timeout({ seconds: RENDER_SECONDS })
    .resize(width, height, { fit: fit === 'cover' ? 'cover' : 'fill' })
  const encode = (pixels: Sharp) => encoders[format](pixels, quality).toBuffer()
  // Of PNG, the only one that may have 16 bits a channel, eight would be lost.
  const shared = wanted && fit === 'inside' && !animated && format !== 'png' && width * height <= FEW_PIXELS
  if (!shared) return { bytes: await encode(picture), placeholder: undefined }
  const { data, info } = await picture
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  const pixels = () => sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } })
  const [encoded, placeholder] = await Promise.all([encode(pixels()), placeholderOf(pixels())])
  return { bytes: encoded, placeholder }
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
