/** The part sizes of multipart uploads. */

import { MAX_PARTS, MIN_PART_BYTES } from '../../storage/multipart.ts'

const MiB = 1024 * 1024

/**
 * The part size in bytes: 8 MiB, which loses little when a connection breaks; more for large files, so that there are
 * at most 1,000 parts, which any store lists at once; but at most 1 GiB, so that even 5 TiB stay below the 10,000 parts
 * that S3 takes.
 */
export function partSizeOf(size: number): number {
  return Math.min(1024 * MiB, Math.max(8 * MiB, Math.ceil(size / 1000 / MiB) * MiB))
}

/**
 * The part size that Uppy uses (`@uppy/aws-s3` 6.3.1), in bytes; its request for a link does not contain it.
 * @param asked the result of the page's `getChunkSize`, if it sets one
 */
export function uppyPartSizeOf(size: number, asked = 0): number {
  return Math.max(asked, MIN_PART_BYTES, Math.ceil(size / MAX_PARTS))
}
