/** Tells a picture that cannot be decoded from one for which there was not enough memory, or no encoder. */
import type { DecodeTask } from './decoding.ts'
import { sizeOf } from './libvips.ts'

// Of a decoder process at rest, in bytes.
const RESTING_BYTES = 64 * 1024 * 1024

/** Most bytes that decoders and encoders were seen to take for a pixel: JPEG when progressive, PNG of 16 bits interlaced. */
const DECODING: Record<string, number> = { 'image/jpeg': 8, 'image/webp': 12, 'image/gif': 12, 'image/avif': 36 }
const ENCODING: Record<string, number> = { 'image/gif': 12, 'image/webp': 16, 'image/avif': 50 }
const OTHERS = 9

/**
 * Not all decoders say that memory was what they lacked ("unable to read pixels", libvips 8.18 on WebP; "Encoder plugin
 * generated an error", libheif 1.23). An error that can have come from the limit is not held against the bytes.
 */
export async function isOfLimits(
  said: string,
  task: DecodeTask,
  bytes: Uint8Array,
  memoryBytes: number,
): Promise<boolean> {
  if (/memory|alloc|creating thread/i.test(said)) return true
  // Not about the bytes either: libwebp 1.6 has no room for many details in 16 megapixels.
  if (/unable to encode|encoder plugin/i.test(said)) return true
  const pixels = await pixelsOf(bytes)
  const input = pixels * (DECODING[task.mimeType] ?? OTHERS)
  return RESTING_BYTES + 2 * bytes.length + input + outputOf(task, pixels) > memoryBytes
}

/** None where not even the header can be read: that takes little memory. */
async function pixelsOf(bytes: Uint8Array): Promise<number> {
  try {
    const { width, height } = await sizeOf(bytes)
    return width * height
  } catch {
    return 0
  }
}

function outputOf(task: DecodeTask, pixels: number): number {
  if (task.kind === 'placeholder') return 0
  if (task.kind === 'clean') return pixels * (ENCODING[task.mimeType] ?? OTHERS)
  const { width, height, format } = task.rendition
  return width * height * (ENCODING[`image/${format}`] ?? OTHERS)
}
