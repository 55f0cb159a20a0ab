/** The tasks of a decoder process: rendition, clean copy and placeholder. */
import sharp, { type Sharp } from 'sharp'
import type { Format, Rendition } from '../media/object/rendition.ts'
import type { DecodeResult, DecodeTask } from './decoding.ts'
import { sizeOf } from './libvips.ts'
import { checkFrames, MAX_DECODED_PIXELS, type PictureHeader, tooLarge, unreadable } from './limits.ts'
import { placeholderOf } from './placeholder.ts'
import { isAnimatedPng, pixelsOfPng } from './png.ts'
import { checkStructure, cutForDecoding } from './structure.ts'

// Higher than for a still picture, because frames are decoded one after the other.
const MOST_PIXELS_OF_ALL_FRAMES = 100_000_000
// Most pixels of a rendition that is held in memory to make the placeholder from it, too.
const FEW_PIXELS = 2_000_000

const ANIMATED = new Set(['image/gif', 'image/webp'])

/**
 * `most`: pixel limit of a still picture. The first four formats are read and written line by line. libwebp (1.6) takes
 * 12 bytes per pixel, and fails on large pictures full of detail; libaom (3.15) takes 36 and more.
 */
const WRITERS: Record<string, { most: number; write: (picture: Sharp) => Sharp }> = {
  // Optimized Huffman tables would need the whole picture in memory.
  'image/jpeg': { most: MAX_DECODED_PIXELS, write: (picture) => picture.jpeg({ quality: 90, optimizeCoding: false }) },
  'image/png': { most: MAX_DECODED_PIXELS, write: (picture) => picture.png() },
  'image/gif': { most: MAX_DECODED_PIXELS, write: (picture) => picture.gif() },
  'image/tiff': { most: MAX_DECODED_PIXELS, write: (picture) => picture.tiff({ compression: 'deflate' }) },
  // More effort takes seconds and saves a few per cent.
  'image/webp': { most: 16_000_000, write: (picture) => picture.webp({ quality: 90, effort: 1 }) },
  'image/avif': { most: 12_500_000, write: (picture) => picture.avif({ quality: 70, effort: 0 }) },
}

const ENCODERS: Record<Format, (picture: Sharp, quality: number) => Sharp> = {
  // The same quality number looks better in AVIF. Effort 4, the default, takes twice the time and saves a few per cent.
  avif: (picture, quality) => picture.avif({ quality: quality - 20, effort: 2 }),
  webp: (picture, quality) => picture.webp({ quality }),
  jpeg: (picture, quality) => picture.flatten({ background: '#fff' }).jpeg({ quality }),
  png: (picture) => picture.png(),
}

/**
 * @throws Problem `image_too_large` for more pixels than the task allows, `image_unreadable` for a file that fails
 * the structure check, and otherwise the decoder's error
 */
export async function perform(task: DecodeTask, original: Uint8Array): Promise<DecodeResult> {
  checkStructure(original, task.mimeType)
  const bytes = cutForDecoding(original, task.mimeType)
  const found = await sizeOf(bytes)
  checkFrames(found.frames)
  const { width, height } = found
  // libvips 8.18 reads only the first frame, so the chunks are copied without decoding.
  if (task.kind === 'clean' && isAnimatedPng(original))
    return { width, height, bytes: pixelsOfPng(original), placeholder: undefined }
  return { width, height, ...(await makeOf(task, bytes, found)) }
}

type Made = Pick<DecodeResult, 'bytes' | 'placeholder'>

function makeOf(task: DecodeTask, bytes: Uint8Array, found: PictureHeader): Promise<Made> {
  if (task.kind === 'rendition') return render(task, bytes, found)
  if (task.kind === 'clean') return clean(task, bytes, found)
  return placehold(bytes, found)
}

/** Makes nothing if the picture's size is not the expected one: the rendition would be distorted. */
async function render(
  { mimeType, rendition, expected, placeholder }: Extract<DecodeTask, { kind: 'rendition' }>,
  bytes: Uint8Array,
  { width, height, frames }: PictureHeader,
): Promise<Made> {
  if (expected.width !== width || expected.height !== height) return { bytes: undefined, placeholder: undefined }
  const pixels = width * height
  if (pixels > MAX_DECODED_PIXELS) throw tooLarge('The picture has too many pixels for renditions.')
  // An animation with too many pixels in all frames together is rendered as its first frame.
  const moves = rendition.format === 'webp' && ANIMATED.has(mimeType) && pixels * frames <= MAX_DECODED_PIXELS
  return resize(bytes, rendition, { animated: moves, placeholder })
}

async function resize(
  bytes: Uint8Array,
  { width, height, fit, format, quality }: Rendition,
  { animated, placeholder: wanted }: { animated: boolean; placeholder: boolean },
): Promise<Made> {
  const options = { animated, limitInputPixels: MAX_DECODED_PIXELS, failOn: 'error', sequentialRead: true } as const
  const picture = sharp(bytes, options)
    .autoOrient()
    .resize(width, height, { fit: fit === 'cover' ? 'cover' : 'fill' })
  const encode = (pixels: Sharp) => ENCODERS[format](pixels, quality).toBuffer()
  // Not for PNG, the only format with up to 16 bits per channel: the shared pixels have eight.
  const shared = wanted && fit === 'inside' && !animated && format !== 'png' && width * height <= FEW_PIXELS
  if (!shared) return { bytes: await encode(picture), placeholder: undefined }
  const { data, info } = await picture
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  const pixels = () => sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } })
  return { bytes: await encode(pixels()), placeholder: await placeholderOf(pixels()) }
}

async function clean(
  { mimeType }: Extract<DecodeTask, { kind: 'clean' }>,
  bytes: Uint8Array,
  { width, height, frames }: PictureHeader,
): Promise<Made> {
  // An animated PNG is detected as either type, depending on how early its animation chunk comes.
  const writer = WRITERS[mimeType === 'image/apng' ? 'image/png' : mimeType]
  if (writer === undefined) return unreadable(`${mimeType} cannot be copied without metadata.`)
  const animated = ANIMATED.has(mimeType) && frames > 1
  const most = ANIMATED.has(mimeType) ? MOST_PIXELS_OF_ALL_FRAMES : writer.most
  if (width * height * frames > most) throw tooLarge('The picture has too many pixels to be copied without metadata.')
  const picture = sharp(bytes, { animated, limitInputPixels: most, failOn: 'none', sequentialRead: true })
  return { bytes: await writer.write(picture.autoOrient()).toBuffer(), placeholder: undefined }
}

async function placehold(bytes: Uint8Array, { width, height }: PictureHeader): Promise<Made> {
  if (width * height > MAX_DECODED_PIXELS) throw tooLarge('The picture has too many pixels for a placeholder.')
  const picture = sharp(bytes, { limitInputPixels: MAX_DECODED_PIXELS, failOn: 'none' })
  return { bytes: undefined, placeholder: await placeholderOf(picture.autoOrient()) }
}
