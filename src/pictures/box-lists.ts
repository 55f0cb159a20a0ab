/** Lists of boxes with their places in the file. */
import { type Box, boxesIn } from './boxes.ts'
import { viewOf } from './bytes.ts'
import { countPieces } from './limits.ts'

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
