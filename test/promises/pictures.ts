/** The smallest pictures there are, as long as wanted: readers stop at a picture's end. */
const SMALLEST = {
  'image/gif': 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7',
  'image/png': 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
}

/** Bytes of a type that is not accepted. */
export const pdf = new TextEncoder().encode('%PDF-1.7 '.padEnd(400))

/** A picture of one pixel. */
export function picture(type: keyof typeof SMALLEST, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  bytes.set(Buffer.from(SMALLEST[type], 'base64'))
  return bytes
}
