/**
 * Content-MD5 for writes of the service itself (RFC 1864). versitygw 1.8.0 keeps a part whose sender died on the way as
 * a whole one; with the checksum, a store can tell. MD5 because every S3 store checks it: AWS refuses a CRC32 of a part
 * whose upload was not begun with one, and Backblaze B2 knows no other checksum.
 */
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'

// About 2 ms of the event loop.
const PIECE_BYTES = 1024 * 1024

/** The value of the Content-MD5 header. Other work gets its turn between the pieces of a large body. */
export async function contentMd5(bytes: Uint8Array): Promise<string> {
  const hash = createHash('md5')
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    if (at > 0) await setImmediate()
    hash.update(bytes.subarray(at, at + PIECE_BYTES))
  }
  return hash.digest('base64')
}
