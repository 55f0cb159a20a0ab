/** Checks the boxes of an AVIF or HEIC (ISO/IEC 14496-12 and 23008-12). */
import { BOX_HEADER_BYTES, boxAt } from './boxes.ts'
import { fourCC, viewOf } from './bytes.ts'
import { countPieces, unreadable } from './limits.ts'

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
export function checkAvif(bytes: Uint8Array): void {
  checkBoxes(bytes, () => unreadable('The file is an image sequence, which is not supported.'))
}

/**
 * The sequence of a burst is allowed, because the decoder gets the file without it.
 * @throws Problem `image_unreadable` for too many boxes
 */
export function checkHeic(bytes: Uint8Array): void {
  checkBoxes(bytes, () => {})
}

/** Where the sequences of a file that passed `checkHeic` begin. */
export function sequencesOf(bytes: Uint8Array): number[] {
  const starts: number[] = []
  checkBoxes(bytes, (at) => starts.push(at))
  return starts
}

/** @param foundSequence takes where a sequence begins */
function checkBoxes(bytes: Uint8Array, foundSequence: (at: number) => void): void {
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
    const { type, data, end: boxEnd } = boxAt(view, at, end)
    if (type === MOOV && depth === 0) foundSequence(at)
    const before = CONTAINERS.get(type)
    if (before === undefined) at = boxEnd
    else {
      depth += 1
      if (depth > MAX_DEPTH) unreadable('The boxes of the picture are nested too deeply.')
      ends.push(boxEnd)
      // From version 1 on, the item count has 32 bits.
      const wide = type === IINF && data < boxEnd && view.getUint8(data) > 0
      at = Math.min(boxEnd, data + before + (wide ? 2 : 0))
    }
  }
}
