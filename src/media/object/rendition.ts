/** Chooses the rendition that a request means. Pure: equal requests for one picture give the same rendition. */
import type { Dimensions } from './object.ts'

export const fits = ['inside', 'cover'] as const
export type Fit = (typeof fits)[number]
export const formats = ['avif', 'webp', 'jpeg', 'png'] as const
export type Format = (typeof formats)[number]

/** What a request asks for. `width`, `height`: pixels; an absent one follows from the other and the picture's shape. */
export type Wish = {
  width: number | undefined
  height: number | undefined
  fit: Fit
  format: Format | 'auto'
  quality: number
}

/** The exact output: `cover` crops to these pixels, `inside` keeps the whole picture. */
export type Rendition = { width: number; height: number; fit: Fit; format: Format; quality: number }

type Picture = { mimeType: string; metadata: Dimensions }

/** Qualities are rounded up to one of these, so that nobody can fill the store with nearly equal renditions. */
const QUALITIES = [50, 60, 75, 85, 95] as const
export const DEFAULT_QUALITY = 75

// Limits of the formats (WebP: RFC 9649, section 2.6; JPEG: 16 bits, of which libvips reserves some).
const MOST_PIXELS: Record<Format, number> = { avif: 16_384, webp: 16_383, jpeg: 65_500, png: 65_535 }

// Types that the decoders decode.
const SOURCES = new Set([
  'image/jpeg',
  'image/png',
  'image/webp',
  'image/gif',
  'image/avif',
  'image/heic',
  'image/tiff',
])
// Types without transparency, but for a few HEIC. The row does not say whether a picture of another type is transparent.
const OPAQUE = new Set(['image/jpeg', 'image/heic'])

/** Whether renditions of an object can be made. */
export function isPicture({ mimeType, metadata }: Picture): boolean {
  return SOURCES.has(mimeType) && metadata.width !== null && metadata.height !== null
}

/**
 * The rendition that fulfils a wish: sides are rounded up to one of `sizes` (ascending), nothing is enlarged. `auto` is
 * the smallest format that the Accept header names.
 */
export function renditionOf(
  wish: Wish,
  picture: Picture,
  { sizes, accept }: { sizes: readonly number[]; accept: string },
): Rendition {
  const { width = 0, height = 0 } = { width: picture.metadata.width ?? 0, height: picture.metadata.height ?? 0 }
  const format = wish.format === 'auto' ? bestFormat(picture.mimeType, accept) : wish.format
  const quality = format === 'png' ? 100 : (QUALITIES.find((step) => step >= wish.quality) ?? QUALITIES[4])
  const box = { width: roundUp(wish.width, sizes), height: roundUp(wish.height, sizes) }
  const most = MOST_PIXELS[format]
  if (wish.fit === 'cover' && box.width !== undefined && box.height !== undefined) {
    const scale = Math.min(1, width / box.width, height / box.height)
    return {
      ...scaled(box.width, box.height, Math.min(scale, most / box.width, most / box.height)),
      fit: 'cover',
      format,
      quality,
    }
  }
  const scale = Math.min(1, (box.width ?? width) / width, (box.height ?? height) / height, most / width, most / height)
  return { ...scaled(width, height, scale), fit: 'inside', format, quality }
}

/** The name of a rendition on its object's row. */
export function nameOf({ width, height, fit, format, quality }: Rendition): string {
  return `${width}x${height}-${fit}-${quality}.${format}`
}

/** Parses such a name; undefined if it is not one. */
export function parseName(name: string): Rendition | undefined {
  const [, width, height, as, quality, extension] = /^(\d+)x(\d+)-(\w+)-(\d+)\.(\w+)$/.exec(name) ?? []
  const [fit, format] = [fits.find((one) => one === as), formats.find((one) => one === extension)]
  if (fit === undefined || format === undefined) return undefined
  return { width: Number(width), height: Number(height), fit, format, quality: Number(quality) }
}

/**
 * Whether a non-owner may ask for it: a width alone, with everything else at its default. All other wishes are for the
 * owner, and for links that the service signed.
 */
export function isForNonOwners({ width, height, fit, format, quality }: Wish): boolean {
  return (
    width !== undefined && height === undefined && fit === 'inside' && format === 'auto' && quality === DEFAULT_QUALITY
  )
}

function scaled(width: number, height: number, scale: number): { width: number; height: number } {
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
}

function roundUp(pixels: number | undefined, sizes: readonly number[]): number | undefined {
  return pixels === undefined ? undefined : (sizes.find((size) => size >= pixels) ?? sizes.at(-1))
}

/**
 * Wildcards do not count for AVIF and WebP: a client that sends only those says nothing about pictures. AVIF is left out
 * for types that may be animated. Transparency is kept unless the client takes JPEG but not PNG.
 */
function bestFormat(mimeType: string, accept: string): Format {
  const named = new Set(
    accept
      .toLowerCase()
      .split(',')
      .flatMap((range) => {
        const [type = '', ...parameters] = range.split(';').map((piece) => piece.trim())
        return parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter)) ? [] : [type]
      }),
  )
  const isAnimated = mimeType === 'image/gif' || mimeType === 'image/webp'
  if (named.has('image/avif') && !isAnimated) return 'avif'
  if (named.has('image/webp')) return 'webp'
  const takesPng = ['image/png', 'image/*', '*/*'].some((range) => named.has(range)) || !named.has('image/jpeg')
  return OPAQUE.has(mimeType) || !takesPng ? 'jpeg' : 'png'
}
