/** What a picture says of itself. The one module that knows sharp. */
import { availableParallelism } from 'node:os'
import imageSize from 'image-size'
import sharp from 'sharp'
import { Problem } from '../problem.ts'
import type { Dimensions } from './object.ts'
import { createProbing } from './probing.ts'

/** Reads the dimensions from the beginning of a picture, or from all of it. Decodes no pixels. */
export type ProbeImage = (bytes: Uint8Array, options: { mimeType: string; whole: boolean }) => Promise<Dimensions>

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

// libvips wants all of a WebP or GIF before it tells the size; their headers say it in the first few bytes.
const HEADER_PARSED = new Set(['image/webp', 'image/gif'])
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

  return async function probeImage(bytes, { mimeType, whole }) {
    if (!(mimeType in LOADERS)) return { width: null, height: null }
    const headerOnly = !whole && HEADER_PARSED.has(mimeType)
    const size = headerOnly ? parseHeader(bytes) : await probe(() => readMetadata(bytes, maxPixels))
    if (size.width * size.height > maxPixels) throw tooLarge(maxPixels)
    return size
  }
}

async function readMetadata(bytes: Uint8Array, maxPixels: number): Promise<{ width: number; height: number }> {
  try {
    const { autoOrient } = await sharp(bytes, { limitInputPixels: maxPixels, failOn: 'none' }).metadata()
    return { width: autoOrient.width, height: autoOrient.height }
  } catch (error) {
    if (error instanceof Error && /pixel limit/i.test(error.message)) throw tooLarge(maxPixels)
    throw unreadable(error)
  }
}

function parseHeader(bytes: Uint8Array): { width: number; height: number } {
  try {
    const { width, height } = imageSize(bytes)
    return { width, height }
  } catch (error) {
    throw unreadable(error)
  }
}

function tooLarge(maxPixels: number): Problem {
  return new Problem('image_too_large', `The picture has more than ${maxPixels} pixels.`)
}

function unreadable(cause: unknown): Problem {
  return new Problem('image_unreadable', 'The file looks like a picture, but its size cannot be read.', { cause })
}
