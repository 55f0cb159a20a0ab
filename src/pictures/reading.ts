/** Reads a file of which only the beginning is at hand, by a few ranges, to find what lies behind long metadata. */
import { INSPECTED_BYTES, MAX_DECODED_BYTES, unreadable } from './limits.ts'

/** The bytes of a stored file behind the beginning that was read already. */
export type Rest = {
  sizeBytes: number
  /** Up to `length` bytes from `start`; fewer at the end of the file. */
  read: (range: { start: number; length: number }) => Promise<Uint8Array>
}

export type Reading = {
  /** At most `INSPECTED_BYTES`. */
  beginning: Uint8Array
  sizeBytes: number
  /**
   * Up to `length` bytes from `start`, at most `INSPECTED_BYTES` of them; fewer at the end of the file.
   * @throws Problem `image_unreadable` after `MOST_READS` reads, and for bytes that no decoder would be given
   */
  at(start: number, length: number): Promise<Uint8Array>
}

/** Reads of `INSPECTED_BYTES` each: enough for the metadata of cameras (depth maps of 4 MiB) in its pieces of 64 KiB. */
const MOST_READS = 16

/** @param bytes the beginning of the file; all of it without `rest` */
export function createReading(bytes: Uint8Array, rest: Rest = inMemory(bytes)): Reading {
  const { sizeBytes } = rest
  const beginning = bytes.subarray(0, INSPECTED_BYTES)
  let read = { start: 0, bytes: beginning }
  let reads = 0
  const inside = (start: number, length: number, { start: first, bytes: held }: typeof read) =>
    start >= first && start + length <= first + held.length
      ? held.subarray(start - first, start - first + length)
      : null
  return {
    beginning,
    sizeBytes,
    async at(start, wanted) {
      const length = Math.max(0, Math.min(wanted, sizeBytes - start))
      const held = inside(start, length, { start: 0, bytes: beginning }) ?? inside(start, length, read)
      if (held !== null || length === 0) return held ?? new Uint8Array()
      reads += 1
      if (reads > MOST_READS || start + length > MAX_DECODED_BYTES) unreadable()
      read = { start, bytes: await rest.read({ start, length: Math.min(INSPECTED_BYTES, sizeBytes - start) }) }
      return read.bytes.subarray(0, length)
    },
  }
}

function inMemory(bytes: Uint8Array): Rest {
  return {
    sizeBytes: bytes.length,
    read: async ({ start, length }) => bytes.subarray(start, start + length),
  }
}
