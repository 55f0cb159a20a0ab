/** Probes a picture: reads its dimensions from the beginning of the file. */
import { availableParallelism } from 'node:os'
import sharp from 'sharp'
import type { Dimensions } from '../media/object/object.ts'
import type { Problem } from '../problem.ts'
import { timed } from '../telemetry/record.ts'
import { readGif } from './gif.ts'
import { checkHeif } from './heif.ts'
import { checkJpeg } from './jpeg.ts'
import { limitLoaders } from './libvips.ts'
import { checkFrames, INSPECTED_BYTES, isPixelLimit, type PictureHeader, tooLarge, unreadable } from './limits.ts'
import { checkPng, readPng } from './png.ts'
import { createProbing } from './probing.ts'
import { readTiff } from './tiff.ts'
import { readWebp } from './webp.ts'

/**
 * Reads the dimensions from the first `INSPECTED_BYTES` of a picture, or from all of a TIFF, whose directory may be
 * anywhere. Decodes no pixels.
 */
export type ProbeImage = (bytes: Uint8Array, mimeType: string) => Promise<Dimensions>

/** All frames of an animation together may have this many times the pixel limit of a still picture. */
const ANIMATION_FACTOR = 10

const DEADLINE_MS = 5000

/**
 * Sets up libvips for this process: no cache, and only the loaders that the allowed types need. The probe throws
 * Problem `image_unreadable`, `image_too_large` or `overloaded`. Files that are not pictures have no dimensions.
 */
export function createImageProbe({
  allowedTypes,
  maxPixels,
}: {
  allowedTypes: ReadonlySet<string>
  maxPixels: number
}): ProbeImage {
  const probe = createProbing({ concurrency: availableParallelism(), deadlineMs: DEADLINE_MS })
  limitLoaders([...allowedTypes])

  return async function probeImage(bytes, mimeType) {
    const read = READERS[mimeType]
    if (read === undefined) return { width: null, height: null }
    const { width, height, frames } = await timed('image', async () =>
      read(bytes, (seen) => probe(() => readMetadata(seen, maxPixels))),
    )
    if (width * height > maxPixels) throw tooManyPixels(maxPixels)
    checkFrames(frames)
    const inAll = maxPixels * ANIMATION_FACTOR
    if (frames * width * height > inAll) throw tooLarge(`All frames together have more than ${inAll} pixels.`)
    return { width, height }
  }
}

type Libvips = (bytes: Uint8Array) => Promise<{ width: number; height: number }>
type Reader = (bytes: Uint8Array, libvips: Libvips) => PictureHeader | Promise<PictureHeader>

/** For formats of which libvips reads the header only; the beginning of the file has to pass `check` first. */
const still =
  (check: (bytes: Uint8Array) => void): Reader =>
  async (bytes, libvips) => {
    const beginning = beginningOf(bytes)
    check(beginning)
    return { ...(await libvips(beginning)), frames: 1 }
  }

// For WebP, GIF and TIFF, of which libvips would read the whole file.
const own =
  (read: (bytes: Uint8Array) => PictureHeader | undefined): Reader =>
  (bytes) =>
    read(bytes) ?? unreadable()

const READERS: Record<string, Reader> = {
  'image/jpeg': still(checkJpeg),
  'image/png': async (bytes, libvips) => {
    const beginning = beginningOf(bytes)
    checkPng(beginning)
    const { essentials, frames } = readPng(beginning) ?? unreadable()
    return { ...(await libvips(essentials)), frames }
  },
  'image/webp': own((bytes) => readWebp(beginningOf(bytes))),
  'image/gif': own((bytes) => readGif(beginningOf(bytes))),
  'image/avif': still(checkHeif),
  'image/heic': still(checkHeif),
  'image/tiff': own(readTiff),
}

function beginningOf(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(0, INSPECTED_BYTES)
}

async function readMetadata(bytes: Uint8Array, maxPixels: number): Promise<{ width: number; height: number }> {
  try {
    const { autoOrient } = await sharp(bytes, { limitInputPixels: maxPixels, failOn: 'none' }).metadata()
    return { width: autoOrient.width, height: autoOrient.height }
  } catch (error) {
    if (error instanceof Error && isPixelLimit(error.message)) throw tooManyPixels(maxPixels)
    return unreadable(undefined, error)
  }
}

function tooManyPixels(maxPixels: number): Problem {
  return tooLarge(`The picture has more than ${maxPixels} pixels.`)
}
