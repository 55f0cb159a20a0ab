/** Reads boxes of the ISO base media file format (ISO/IEC 14496-12), of which AVIF and HEIC consist. */
import { fourCC, viewOf } from './bytes.ts'
import { countPieces } from './limits.ts'

export const BOX_HEADER_BYTES = 8
const LARGE_BOX_HEADER_BYTES = 16

/** `type` as `fourCC` gives it; the content is from `data` to `end`. */
export type Box = { type: number; data: number; end: number }

/** The box at `at`, which has at least a header before `within`, the end of the enclosing box. */
export function boxAt(view: DataView, at: number, within: number): Box {
  const [headerBytes, size] = sizeOf(view, at)
  const end = size === 0 ? within : Math.min(within, at + Math.max(BOX_HEADER_BYTES, size))
  return { type: view.getUint32(at + 4), data: Math.min(end, at + headerBytes), end }
}

/** The boxes from `start` to `end`, each counted. */
export function* boxesIn(
  view: DataView,
  { start, end }: { start: number; end: number },
  count: () => void,
): Generator<Box> {
  for (let at = start; at + BOX_HEADER_BYTES <= end; ) {
    count()
    const box = boxAt(view, at, end)
    yield box
    at = box.end
  }
}

/** The first of these boxes that has the type. */
export function findBox(boxes: Iterable<Box>, type: string): Box | undefined {
  const wanted = fourCC(type)
  for (const box of boxes) if (box.type === wanted) return box
  return undefined
}

/** With its place in the file. */
export type Placed = Box & { start: number }

/** Lists the boxes in a box, behind so many bytes, all of them counted together. */
export function listOf(bytes: Uint8Array) {
  const view = viewOf(bytes)
  const { piece } = countPieces(bytes.length)
  return ({ data, end }: Pick<Box, 'data' | 'end'>, before = 0): Placed[] => {
    let start = data + before
    return [...boxesIn(view, { start, end }, piece)].map((box) => {
      const placed = { ...box, start }
      start = box.end
      return placed
    })
  }
}

/** Size 0: the box extends to the end of the enclosing one; size 1: a 64-bit size follows. */
function sizeOf(view: DataView, at: number): [headerBytes: number, size: number] {
  const size = view.getUint32(at)
  if (size !== 1) return [BOX_HEADER_BYTES, size]
  if (at + LARGE_BOX_HEADER_BYTES > view.byteLength) return [BOX_HEADER_BYTES, 0]
  return [LARGE_BOX_HEADER_BYTES, Number(view.getBigUint64(at + 8))]
}
