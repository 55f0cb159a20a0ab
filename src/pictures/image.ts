/** Probes a picture: reads its dimensions from the beginning of the file, or by a few ranges from further behind. */
import { availableParallelism } from 'node:os'
import type { Dimensions } from '../media/object/object.ts'
import type { Problem } from '../problem.ts'
import { timed } from '../telemetry/record.ts'
import { readGif } from './gif.ts'
import { checkAvif, checkHeic } from './heif.ts'
import { outlineOfHeif, sizeOfHeif } from './heif-picture.ts'
import { checkJpeg } from './jpeg.ts'
import { checkFrames, isPixelLimit, type PictureHeader, tooLarge, unreadable } from './limits.ts'
import { type Outline, outlineOfGif, outlineOfJpeg, outlineOfPng, outlineOfTiff, outlineOfWebp } from './outline.ts'
import { checkPng, readPng } from './png.ts'
import { createProbing } from './probing.ts'
import { createReading, type Reading, type Rest } from './reading.ts'
import { readTiff } from './tiff.ts'
import { isWebpWithExif, readWebp } from './webp.ts'

/** Reads the dimensions of a picture, of which `bytes` is all, or the beginning if there is `rest`. Decodes no pixels. */
export type ProbeImage = (bytes: Uint8Array, mimeType: string, rest?: Rest) => Promise<Dimensions>

/** All frames of an animation together may have this many times the pixel limit of a still picture. */
const ANIMATION_FACTOR = 10

const DEADLINE_MS = 5000

/**
 * The probe throws Problem `image_unreadable`, `image_too_large` or `overloaded`. Files that are not pictures have no
 * dimensions. The first picture loads libvips, which takes 10 MB that a replica without pictures saves, and sets it up
 * for this process: no cache, and only the loaders that the allowed types need.
 */
export function createImageProbe({
  allowedTypes,
  maxPixels,
}: {
  allowedTypes: ReadonlySet<string>
  maxPixels: number
}): ProbeImage {
  const probe = createProbing({ concurrency: availableParallelism(), deadlineMs: DEADLINE_MS })
  const types = [...allowedTypes]
  loaded?.limitLoaders(types)
  let loading: Promise<void> | undefined
  const readMetadata = async (seen: Uint8Array, most: number) => {
    loading ??= loaded === undefined ? loadLibvips(types) : Promise.resolve()
    await loading
    return readWithLibvips(seen, most)
  }

  return async function probeImage(bytes, mimeType, rest) {
    const read = READERS[mimeType]
    if (read === undefined) return { width: null, height: null }
    const { width, height, frames } = await timed('image', async () =>
      read(createReading(bytes, rest), (seen) => probe(() => readMetadata(seen, maxPixels))),
    )
    if (width * height > maxPixels) throw tooManyPixels(maxPixels)
    checkFrames(frames)
    const inAll = maxPixels * ANIMATION_FACTOR
    if (frames * width * height > inAll) throw tooLarge(`All frames together have more than ${inAll} pixels.`)
    return { width, height }
  }
}

let loaded: Pick<typeof import('./libvips.ts'), 'limitLoaders' | 'readAutoOriented'> | undefined

async function loadLibvips(types: readonly string[]): Promise<void> {
  const { limitLoaders, readAutoOriented } = await import('./libvips.ts')
  limitLoaders(types)
  loaded = { limitLoaders, readAutoOriented }
}

async function readWithLibvips(bytes: Uint8Array, maxPixels: number): Promise<{ width: number; height: number }> {
  try {
    return (await loaded?.readAutoOriented(bytes, maxPixels)) ?? unreadable()
  } catch (error) {
    if (error instanceof Error && isPixelLimit(error.message)) throw tooManyPixels(maxPixels)
    return unreadable(undefined, error)
  }
}

type Libvips = (bytes: Uint8Array) => Promise<{ width: number; height: number }>
type Reader = (reading: Reading, libvips: Libvips) => Promise<PictureHeader>

/** For formats of which libvips would read the whole file. The outline says what `read` did not find in the beginning. */
const own =
  (
    read: (bytes: Uint8Array) => PictureHeader | undefined,
    outlineOf: Outline,
    isFound: (found: PictureHeader, beginning: Uint8Array) => boolean = () => true,
  ): Reader =>
  async (reading) => {
    const { beginning } = reading
    const found = read(beginning)
    if (found !== undefined && (reading.sizeBytes <= beginning.length || isFound(found, beginning))) return found
    return read((await outlineOf(reading)) ?? unreadable()) ?? unreadable()
  }

const readBoxes = own(sizeOfHeif, outlineOfHeif)

const READERS: Record<string, Reader> = {
  'image/jpeg': async (reading, libvips) => {
    const { beginning } = reading
    const isFound = checkJpeg(beginning) > 0 || reading.sizeBytes <= beginning.length
    return { ...(await libvips(isFound ? beginning : ((await outlineOfJpeg(reading)) ?? unreadable()))), frames: 1 }
  },
  'image/png': async (reading, libvips) => {
    checkPng(reading.beginning)
    const found = readPng(reading.beginning) ?? readPng((await outlineOfPng(reading)) ?? unreadable())
    const { essentials, frames } = found ?? unreadable()
    return { ...(await libvips(essentials)), frames }
  },
  // The orientation of a still picture lies behind its pixels.
  'image/webp': own(readWebp, outlineOfWebp, ({ frames }, bytes) => frames > 1 || !isWebpWithExif(bytes)),
  'image/gif': own(readGif, outlineOfGif),
  'image/avif': async (reading, libvips) => {
    const { beginning, sizeBytes } = reading
    checkAvif(beginning)
    // Of a file that is cut off libheif (1.23) refuses even the size where EXIF lies behind.
    if (sizeBytes > beginning.length) return readBoxes(reading, libvips)
    return { ...(await libvips(beginning)), frames: 1 }
  },
  'image/heic': async (reading, libvips) => {
    checkHeic(reading.beginning)
    return readBoxes(reading, libvips)
  },
  'image/tiff': own(readTiff, outlineOfTiff),
}

function tooManyPixels(maxPixels: number): Problem {
  return tooLarge(`The picture has more than ${maxPixels} pixels.`)
}
