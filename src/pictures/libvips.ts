/** Set-up of libvips in a decoder process, and reading a picture's header with it. */
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
  // The header only; libvips as sharp ships it decodes no HEIC.
  'image/heic': 'VipsForeignLoadHeifBuffer',
  'image/tiff': 'VipsForeignLoadTiffBuffer',
}

/** For a decoder process: one thread, and what `limitLoaders` does. */
export function setUpLibvips(types: readonly string[]): void {
  sharp.concurrency(1)
  limitLoaders(types)
}

/** Disables the cache and allows, in this process, only the loaders that the types need. */
export function limitLoaders(types: readonly string[]): void {
  sharp.cache(false)
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({ operation: types.flatMap((type) => LOADERS[type] ?? []) })
}

/**
 * Reads the header only.
 * @throws libvips' errors
 */
export async function sizeOf(bytes: Uint8Array): Promise<PictureHeader> {
  const { autoOrient, pages = 1 } = await sharp(bytes, { limitInputPixels: false, failOn: 'none' }).metadata()
  return { width: autoOrient.width, height: autoOrient.height, frames: pages }
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
