/** The tasks of a decoder process: rendition, clean copy and placeholder. */
import sharp, { type Sharp } from 'sharp'
import { copyTypeOf } from '../media/object/copy-type.ts'
import type { Format, Rendition } from '../media/object/rendition.ts'
import type { DecodeResult, DecodeTask } from './decoding.ts'
import { gifWithScreen } from './gif.ts'
import { type Found, sizeOf } from './libvips.ts'
import { checkFrames, MAX_DECODED_PIXELS, tooLarge, unreadable } from './limits.ts'
import { placeholderOf, placeholderOfPixels } from './placeholder.ts'
import { isAnimatedPng, pixelsOfPng } from './png.ts'
import { checkStructure, cutForDecoding } from './structure.ts'

// Higher than for a still picture, because frames are decoded one after the other.
const MOST_PIXELS_OF_ALL_FRAMES = 100_000_000
// Most pixels of a rendition that is held in memory to make the placeholder from it, too.
const FEW_PIXELS = 2_000_000

const ANIMATED = new Set(['image/gif', 'image/webp'])
/** Types of which the public copy has all frames, or pages. */
const MANY = new Set([...ANIMATED, 'image/tiff'])

/** A picture as the decoder gets it: `first` frames at the beginning are not the picture's own. */
type Input = { mimeType: string; bytes: Uint8Array; first: 0 | 1 } & Found

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
  const { mimeType } = task
  checkStructure(original, mimeType)
  if (mimeType !== 'image/heic') {
    const { bytes, added } = mimeType === 'image/gif' ? gifWithScreen(original) : { bytes: original, added: 0 as const }
    return performOn(cutForDecoding(bytes, mimeType), added, task, original)
  }
  // 2 MB, which a process that gets no HEIC does not load.
  const { heicToTiff } = await import('./heic.ts')
  const tiff = heicToTiff(original)
  try {
    return await performOn(tiff, 0, task, original)
  } finally {
    // More than a hundred megabytes, which the garbage collector would leave for some jobs.
    tiff.buffer.transfer(0)
  }
}

/** @param added how many frames at the beginning are not the picture's own */
async function performOn(
  bytes: Uint8Array,
  added: 0 | 1,
  task: DecodeTask,
  original: Uint8Array,
): Promise<DecodeResult> {
  const { kind, mimeType } = task
  const found = await sizeOf(bytes)
  const input = { ...found, mimeType, bytes, first: added, frames: found.frames - added }
  checkFrames(input.frames)
  const { width, height } = input
  // libvips 8.18 reads only the first frame, so the chunks are copied without decoding.
  if (kind === 'clean' && isAnimatedPng(original))
    return { width, height, bytes: pixelsOfPng(original), placeholder: undefined }
  return { width, height, ...(await makeOf(task, input)) }
}

type Made = Pick<DecodeResult, 'bytes' | 'placeholder'>

function makeOf(task: DecodeTask, input: Input): Promise<Made> {
  if (task.kind === 'rendition') return render(task, input)
  if (task.kind === 'clean') return clean(input)
  return placehold(input)
}

/**
 * The upright picture: all of its frames, or the first. What is there of a file that is cut off is shown, as in
 * browsers.
 */
function open({ mimeType, bytes, first, frames, delay }: Input, { all, most }: { all: boolean; most: number }): Sharp {
  const pages = { page: first, pages: all ? -1 : 1 }
  const picture = sharp(bytes, { ...pages, limitInputPixels: most, failOn: 'none', sequentialRead: true })
  // libvips leaves out the frame, but not its time. The format is chosen later.
  if (all && first > 0) picture.gif({ delay: delay.slice(first) })
  // Of an animation the orientation does not count; see `readWebp`.
  return ANIMATED.has(mimeType) && frames > 1 ? picture : picture.autoOrient()
}

/** Makes nothing if the picture's size is not the expected one: the rendition would be distorted. */
async function render(
  { rendition, expected, placeholder }: Extract<DecodeTask, { kind: 'rendition' }>,
  input: Input,
): Promise<Made> {
  const { mimeType, width, height, frames } = input
  if (expected.width !== width || expected.height !== height) return { bytes: undefined, placeholder: undefined }
  const pixels = width * height
  if (pixels > MAX_DECODED_PIXELS) throw tooLarge('The picture has too many pixels for renditions.')
  // An animation with too many pixels in all frames together is rendered as its first frame.
  const moves = rendition.format === 'webp' && ANIMATED.has(mimeType) && pixels * frames <= MAX_DECODED_PIXELS
  const picture = open(input, { all: moves, most: MAX_DECODED_PIXELS + pixels })
  return resize(picture, rendition, { animated: moves, placeholder })
}

async function resize(
  opened: Sharp,
  { width, height, fit, format, quality }: Rendition,
  { animated, placeholder: wanted }: { animated: boolean; placeholder: boolean },
): Promise<Made> {
  const picture = opened.resize(width, height, { fit: fit === 'cover' ? 'cover' : 'fill' })
  const encode = (pixels: Sharp) => ENCODERS[format](pixels, quality).toBuffer()
  // Not for PNG, the only format with up to 16 bits per channel: the shared pixels have eight.
  const shared = wanted && fit === 'inside' && !animated && format !== 'png' && width * height <= FEW_PIXELS
  if (!shared) return { bytes: await encode(picture), placeholder: undefined }
  const { data, info } = await picture
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  const pixels = sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } })
  return { bytes: await encode(pixels), placeholder: placeholderOfPixels({ data, ...info }) }
}

async function clean(input: Input): Promise<Made> {
  const { mimeType, width, height, frames, deep } = input
  // Rows of earlier versions call an animated PNG image/apng.
  const writer = WRITERS[mimeType === 'image/apng' ? 'image/png' : copyTypeOf(mimeType)]
  if (writer === undefined) return unreadable(`${mimeType} cannot be copied without metadata.`)
  const all = MANY.has(mimeType) && frames > 1
  const most = MANY.has(mimeType) ? MOST_PIXELS_OF_ALL_FRAMES : writer.most
  if (width * height * frames > most) throw tooLarge('The picture has too many pixels to be copied without metadata.')
  const picture = open(input, { all, most: most + width * height })
  const depth = mimeType === 'image/png' && deep !== undefined ? picture.toColourspace(deep) : picture
  // JPEG, in which HEIC is copied, has no transparency.
  const copied = mimeType === 'image/heic' ? depth.flatten({ background: '#fff' }) : depth
  return { bytes: await writer.write(copied).toBuffer(), placeholder: undefined }
}

async function placehold(input: Input): Promise<Made> {
  const pixels = input.width * input.height
  if (pixels > MAX_DECODED_PIXELS) throw tooLarge('The picture has too many pixels for a placeholder.')
  const picture = open(input, { all: false, most: MAX_DECODED_PIXELS })
  return { bytes: undefined, placeholder: await placeholderOf(picture) }
}
