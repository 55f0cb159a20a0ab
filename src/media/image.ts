/** What a picture says of itself. The one module that knows sharp. */
import { availableParallelism } from 'node:os'
import sharp from 'sharp'
import { timed } from '../observe/record.ts'
import { Problem } from '../problem.ts'
import type { Dimensions } from './object.ts'
import { hasFilm, type PictureHeader, readGif, readPng, readWebp } from './picture-headers.ts'
import { createProbing } from './probing.ts'

/** Reads the dimensions from the beginning of a picture, or from all of it. Decodes no pixels. */
export type ProbeImage = (bytes: Uint8Array, mimeType: string) => Promise<Dimensions>

/**
 * Most frames of an animation: minutes of it, and few enough for decoders whose cost grows with their square (libwebp
 * 1.6 takes 5 s to open 100,000 frames in 4 MiB).
 */
export const MAX_FRAMES = 10_000
/** Largest picture, in bytes, that is decoded: larger ones are scans and raw pixels, which nobody shows as they are. */
export const MAX_DECODED_BYTES = 64 * 1024 * 1024
/** Most pixels of a picture that are decoded: phones make 50 million. A decoder may need four bytes for each. */
export const MAX_DECODED_PIXELS = 64_000_000
/** How many times the pixels that a still picture may have all frames of an animation may have together. */
const ANIMATION_FACTOR = 10

/** libvips' loaders, by the media type whose bytes they read. Nothing else of libvips gets to see a client's bytes. */
const LOADERS: Record<string, string> = {
  'image/jpeg': 'VipsForeignLoadJpegBuffer',
  'image/png': 'VipsForeignLoadPngBuffer',
  'image/webp': 'VipsForeignLoadWebpBuffer',
  'image/gif': 'VipsForeignLoadNsgifBuffer',
  'image/avif': 'VipsForeignLoadHeifBuffer',
  'image/heic': 'VipsForeignLoadHeifBuffer',
  'image/tiff': 'VipsForeignLoadTiffBuffer',
}

const DEADLINE_MS = 5000

/**
 * Sets up libvips for this process: no cache, only the loaders that the allowed types need.
 * The probe throws Problem `image_unreadable`, `image_too_large` or `overloaded`; other types than pictures have no
 * dimensions.
 */
export function createImageProbe({
  allowedTypes,
  maxPixels,
}: {
  allowedTypes: ReadonlySet<string>
  maxPixels: number
}): ProbeImage {
  const probe = createProbing({ concurrency: availableParallelism(), deadlineMs: DEADLINE_MS })
  sharp.cache(false)
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({
    operation: Object.keys(LOADERS).flatMap((type) => (allowedTypes.has(type) ? (LOADERS[type] ?? []) : [])),
  })

  return async function probeImage(bytes, mimeType) {
    const read = READERS[mimeType]
    if (read === undefined) return { width: null, height: null }
    const { width, height, frames } = await timed('image', async () =>
      read(bytes, (seen) => probe(() => readMetadata(seen, maxPixels))),
    )
    if (width * height > maxPixels) throw tooManyPixels(maxPixels)
    if (frames > MAX_FRAMES) throw tooLarge(`The animation has more than ${MAX_FRAMES} frames.`)
    const inAll = maxPixels * ANIMATION_FACTOR
    if (frames * width * height > inAll) throw tooLarge(`The frames have more than ${inAll} pixels together.`)
    return { width, height }
  }
}

type Libvips = (bytes: Uint8Array) => Promise<{ width: number; height: number }>
type Reader = (bytes: Uint8Array, libvips: Libvips) => PictureHeader | Promise<PictureHeader>

const still: Reader = async (bytes, libvips) => ({ ...(await libvips(bytes)), frames: 1 })

// Honest films say so in their type, `avis`, which libvips does not read either.
const stillHeif: Reader = (bytes, libvips) => (hasFilm(bytes) ? unreadable('It is a film.') : still(bytes, libvips))

const READERS: Record<string, Reader> = {
  'image/jpeg': still,
  'image/png': async (bytes, libvips) => {
    const { essentials, frames } = readPng(bytes) ?? unreadable()
    return { ...(await libvips(essentials)), frames }
  },
  'image/webp': (bytes) => readWebp(bytes) ?? unreadable(),
  'image/gif': (bytes) => readGif(bytes) ?? unreadable(),
  'image/avif': stillHeif,
  'image/heic': stillHeif,
  'image/tiff': still,
}

async function readMetadata(bytes: Uint8Array, maxPixels: number): Promise<{ width: number; height: number }> {
  try {
    const { autoOrient } = await sharp(bytes, { limitInputPixels: maxPixels, failOn: 'none' }).metadata()
    return { width: autoOrient.width, height: autoOrient.height }
  } catch (error) {
    if (error instanceof Error && /pixel limit/i.test(error.message)) throw tooManyPixels(maxPixels)
    return unreadable(undefined, error)
  }
}

function tooManyPixels(maxPixels: number): Problem {
  return tooLarge(`The picture has more than ${maxPixels} pixels.`)
}

function tooLarge(detail: string): Problem {
  return new Problem('image_too_large', detail)
}

function unreadable(
  detail = 'The file looks like a picture, but its size cannot be read from its first 1 MiB.',
  cause?: unknown,
): never {
  throw new Problem('image_unreadable', detail, { cause })
}
