/** Helpers that read numbers and type codes from a picture's bytes without allocating an object for each. */

export function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength)
}

/** A four-letter type code as the number that `DataView.getUint32` reads, big-endian. */
export function fourCC(type: string): number {
  return Buffer.from(type, 'latin1').readUInt32BE()
}

export function textAt(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length))
}

/** Collects ranges of one file, in ascending order, and concatenates the kept ones. */
export function createCut(bytes: Uint8Array) {
  // Alternating starts and ends; adjacent ranges are merged.
  const bounds: number[] = []
  return {
    keep(start: number, end: number) {
      if (bounds.at(-1) === start) bounds[bounds.length - 1] = end
      else bounds.push(start, end)
    },
    /** The file itself if all of it is kept, else a copy. */
    result(): Uint8Array {
      if (bounds.length === 2 && bounds[0] === 0 && bounds[1] === bytes.length) return bytes
      return Buffer.concat(
        Array.from({ length: bounds.length / 2 }, (_, i) => bytes.subarray(bounds[2 * i], bounds[2 * i + 1])),
      )
    },
  }
}
