/** Checks the boxes of an AVIF or HEIC (ISO/IEC 14496-12 and 23008-12). */
import { fourCC, viewOf } from './bytes.ts'
import { countPieces, unreadable } from './limits.ts'

const BOX_HEADER_BYTES = 8
const LARGE_BOX_HEADER_BYTES = 16
const MAX_DEPTH = 16
const MOOV = fourCC('moov')
const IINF = fourCC('iinf')
// Boxes that contain boxes, with the number of bytes before the first inner box.
const CONTAINERS = new Map([
  [fourCC('meta'), 4],
  [IINF, 6],
  [fourCC('iref'), 4],
  [fourCC('iprp'), 0],
  [fourCC('ipco'), 0],
  [fourCC('grpl'), 0],
])

/**
 * Well-formed sequences have the brand `avis`, which libvips does not read either.
 * @throws Problem `image_unreadable` for too many boxes, and for an image sequence: libheif 1.23 allocates memory for
 * every frame that the file claims, 1 GiB for 2 KiB
 */
export function checkHeif(bytes: Uint8Array): void {
  const view = viewOf(bytes)
  const count = countPieces(bytes.length)
  // Stack of the ends of the enclosing boxes; the first is the end of the file.
  const ends = [bytes.length]
  for (let at = 0, depth = 0; depth >= 0; ) {
    const end = ends[depth] ?? 0
    if (at + BOX_HEADER_BYTES > end) {
      at = end
      depth -= 1
      ends.pop()
      continue
    }
    count.piece()
    const type = view.getUint32(at + 4)
    if (type === MOOV && depth === 0) unreadable('The file is an image sequence, which is not supported.')
    const [headerBytes, size] = sizeOf(view, at)
    const boxEnd = size === 0 ? end : Math.min(end, at + Math.max(BOX_HEADER_BYTES, size))
    const before = CONTAINERS.get(type)
    if (before === undefined) at = boxEnd
    else {
      depth += 1
      if (depth > MAX_DEPTH) unreadable('The boxes of the picture are nested too deeply.')
      ends.push(boxEnd)
      const data = at + headerBytes
      // From version 1 on, the item count has 32 bits.
      const wide = type === IINF && data < boxEnd && view.getUint8(data) > 0
      at = Math.min(boxEnd, data + before + (wide ? 2 : 0))
    }
  }
}

/** Size 0: the box extends to the end of the enclosing one; size 1: a 64-bit size follows. */
function sizeOf(view: DataView, at: number): [headerBytes: number, size: number] {
  const size = view.getUint32(at)
  if (size !== 1) return [BOX_HEADER_BYTES, size]
  if (at + LARGE_BOX_HEADER_BYTES > view.byteLength) return [BOX_HEADER_BYTES, 0]
  return [LARGE_BOX_HEADER_BYTES, Number(view.getBigUint64(at + 8))]
}
