/** Set-up of libvips in a process, and reading a picture's header with it. */
import sharp from 'sharp'
import type { PictureHeader } from './limits.ts'

/** libvips' loaders by media type. No other loader gets a client's bytes. */
const LOADERS: Record<string, string> = {
  'image/jpeg': 'VipsForeignLoadJpegBuffer',
  'image/png': 'VipsForeignLoadPngBuffer',
  'image/apng': 'VipsForeignLoadPngBuffer',
  'image/webp': 'VipsForeignLoadWebpBuffer',
  'image/gif': 'VipsForeignLoadNsgifBuffer',
  'image/avif': 'VipsForeignLoadHeifBuffer',
  'image/tiff': 'VipsForeignLoadTiffBuffer',
}

/** For a decoder process: one thread, and what `limitLoaders` does. HEIC reaches libvips as TIFF. */
export function setUpLibvips(types: readonly string[]): void {
  sharp.concurrency(1)
  limitLoaders(types.includes('image/heic') ? [...types, 'image/tiff'] : types)
}

/** Disables the cache and allows, in this process, only the loaders that the types need. */
export function limitLoaders(types: readonly string[]): void {
  sharp.cache(false)
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({ operation: types.flatMap((type) => LOADERS[type] ?? []) })
}

/**
 * Reads the header only: the size that a viewer sees.
 * @throws libvips' errors, and for more pixels than `maxPixels`
 */
export async function readAutoOriented(bytes: Uint8Array, maxPixels: number) {
  const { autoOrient } = await sharp(bytes, { limitInputPixels: maxPixels, failOn: 'none' }).metadata()
  return { width: autoOrient.width, height: autoOrient.height }
}

/**
 * `deep`: the colour space of a picture with 16 bits per channel, as libvips names it. `delay`: of each frame, in
 * milliseconds.
 */
export type Found = PictureHeader & { deep: 'rgb16' | 'grey16' | undefined; delay: number[] }

/**
 * Reads the header only.
 * @throws libvips' errors
 */
export async function sizeOf(bytes: Uint8Array): Promise<Found> {
  const header = await sharp(bytes, { limitInputPixels: false, failOn: 'none' }).metadata()
  const { autoOrient, format, width, height, pages = 1, depth, channels, delay = [] } = header
  const deep = depth !== 'ushort' ? undefined : channels < 3 ? 'grey16' : 'rgb16'
  // Of an animation the orientation does not count; see `readWebp`.
  const size =
    format === 'webp' && pages > 1 ? { width, height } : { width: autoOrient.width, height: autoOrient.height }
  return { ...size, frames: pages, deep, delay }
}

/** Self-test of a new process before its first job: throws when libvips cannot encode and decode a known picture. */
export async function checkLibvips(types: readonly string[]): Promise<void> {
  const pixels = { create: { width: 8, height: 8, channels: 3, background: '#4080c0' } } as const
  const format = types.includes('image/jpeg') ? 'jpeg' : types.includes('image/webp') ? 'webp' : 'png'
  if (!types.includes(`image/${format}`)) return
  const encoded = await sharp(pixels).toFormat(format).toBuffer()
  const { info } = await sharp(encoded).resize(4, 4).webp().toBuffer({ resolveWithObject: true })
  if (info.width !== 4 || info.height !== 4) throw new Error('libvips does not work here')
}
