/** Checks and cuts of a whole picture, by its type, before a decoder sees it. In the decoder's process only. */
import { readGif } from './gif.ts'
import { checkHeif } from './heif.ts'
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
  'image/avif': checkHeif,
  'image/heic': checkHeif,
  'image/tiff': checkTiff,
}

/**
 * Goes through all of a file in time linear in its length. Throws Problem `image_unreadable` for more pieces than an
 * honest picture has, or scans; `image_too_large` for too many frames. Broken files pass: the decoder tells these.
 */
export function checkStructure(bytes: Uint8Array, mimeType: string): void {
  CHECKS[mimeType]?.(bytes)
}

/**
 * What a decoder may see of a file that passed `checkStructure`: without text, and without colour profiles that unpack to
 * more than 8 MiB. The file itself where there is nothing to leave out, else a copy.
 */
export function cutForDecoding(bytes: Uint8Array, mimeType: string): Uint8Array {
  if (mimeType === 'image/jpeg') return cutJpeg(bytes)
  return mimeType === 'image/png' || mimeType === 'image/apng' ? cutPng(bytes) : bytes
}
