/** Distinguishes errors caused by a limit of memory or of an encoder from errors caused by the picture's bytes. */
import type { DecodeTask } from './decoding.ts'
import { readHeif } from './heif-picture.ts'
import { sizeOf } from './libvips.ts'

// Memory of an idle decoder process, in bytes.
const RESTING_BYTES = 64 * 1024 * 1024

/** Highest measured bytes per pixel of decoders and encoders; for progressive JPEG and interlaced 16-bit PNG. */
const DECODING: Record<string, number> = {
  'image/jpeg': 8,
  'image/webp': 12,
  'image/gif': 12,
  'image/avif': 36,
  'image/heic': 12,
}
const ENCODING: Record<string, number> = { 'image/gif': 12, 'image/webp': 16, 'image/avif': 50 }
const OTHERS = 9

/**
 * Not all libraries report out of memory as such ("unable to read pixels", libvips 8.18 on WebP; "Encoder plugin
 * generated an error", libheif 1.23). An error that the limit may have caused is not blamed on the bytes.
 */
export async function isOfLimits(
  said: string,
  task: DecodeTask,
  bytes: Uint8Array,
  memoryBytes: number,
): Promise<boolean> {
  if (/memory|alloc|creating thread/i.test(said)) return true
  // Not an error of the bytes either: libwebp 1.6 fails to encode 16 megapixels full of detail.
  if (/unable to encode|encoder plugin/i.test(said)) return true
  const pixels = await pixelsOf(bytes, task.mimeType)
  const input = pixels * (DECODING[task.mimeType] ?? OTHERS)
  return RESTING_BYTES + 2 * bytes.length + input + outputOf(task, pixels) > memoryBytes
}

/** Pixels of the picture; 0 if even the header cannot be read, which takes little memory. */
async function pixelsOf(bytes: Uint8Array, mimeType: string): Promise<number> {
  try {
    const { width, height } = mimeType === 'image/heic' ? (readHeif(bytes) ?? NONE) : await sizeOf(bytes)
    return width * height
  } catch {
    return 0
  }
}

const NONE = { width: 0, height: 0 }

function outputOf(task: DecodeTask, pixels: number): number {
  if (task.kind === 'placeholder') return 0
  if (task.kind === 'clean') return pixels * (ENCODING[task.mimeType] ?? OTHERS)
  const { width, height, format } = task.rendition
  return width * height * (ENCODING[`image/${format}`] ?? OTHERS)
}
