/** Checks and cuts a whole picture, by its type, before it is decoded. Runs in decoder processes only. */
import { avifWithProfile } from './avif-colour.ts'
import { readGif } from './gif.ts'
import { checkAvif, checkHeic } from './heif.ts'
import { checkJpeg, cutJpeg } from './jpeg.ts'
import { checkPng, cutPng } from './png.ts'
import { checkTiff } from './tiff.ts'
import { readWebp } from './webp.ts'

const CHECKS: Record<string, (bytes: Uint8Array) => void> = {
  'image/jpeg': checkJpeg,
  'image/png': checkPng,
  'image/apng': checkPng,
  'image/webp': readWebp,
  'image/gif': readGif,
  'image/avif': checkAvif,
  'image/heic': checkHeic,
  'image/tiff': checkTiff,
}

/**
 * Walks through a whole file in time linear in its length. Broken files pass: the decoder detects them.
 * @throws Problem `image_unreadable` for too many pieces or scans, `image_too_large` for too many frames
 */
export function checkStructure(bytes: Uint8Array, mimeType: string): void {
  CHECKS[mimeType]?.(bytes)
}

/**
 * The bytes for the decoder of a file that passed `checkStructure`: without text, and without colour profiles that
 * decompress to more than 8 MiB; and with the profile that code points of colour mean. The file itself if there is
 * nothing to change, else a copy.
 */
export function cutForDecoding(bytes: Uint8Array, mimeType: string): Uint8Array {
  if (mimeType === 'image/jpeg') return cutJpeg(bytes)
  if (mimeType === 'image/avif') return avifWithProfile(bytes)
  return mimeType === 'image/png' || mimeType === 'image/apng' ? cutPng(bytes) : bytes
}
