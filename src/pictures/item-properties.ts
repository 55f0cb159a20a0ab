/** The primary item of an AVIF or HEIC, and which properties it has (ISO/IEC 23008-12, the boxes `pitm` and `ipma`). */
import type { Box } from './boxes.ts'

/** Version and flags, with which many boxes begin. */
export const FULL_BOX_BYTES = 4

export function primaryItemOf(view: DataView, pitm: Box): number {
  const at = pitm.data + FULL_BOX_BYTES
  return hasWideIds(view, pitm) ? view.getUint32(at) : view.getUint16(at)
}

/**
 * `indices`: the properties in order, as numbers from 1 on; `isWide`: of 16 bits. `at`: where their number stands in the
 * file; `end`: where they end.
 */
export type Associations = { indices: number[]; isWide: boolean; at: number; end: number }

/** @param piece called for each item before the wanted one, and for that */
export function associationsOf(
  view: DataView,
  ipma: Box,
  wanted: number,
  piece: () => void = () => {},
): Associations | undefined {
  const wideIds = hasWideIds(view, ipma)
  const isWide = (view.getUint8(ipma.data + 3) & 1) === 1
  const entries = view.getUint32(ipma.data + FULL_BOX_BYTES)
  let at = ipma.data + FULL_BOX_BYTES + 4
  for (let entry = 0; entry < entries && at < ipma.end; entry += 1) {
    piece()
    const id = wideIds ? view.getUint32(at) : view.getUint16(at)
    at += wideIds ? 4 : 2
    const first = at + 1
    const length = view.getUint8(at)
    const end = first + length * (isWide ? 2 : 1)
    // The highest bit says whether the property is essential.
    const indexAt = (n: number) => (isWide ? view.getUint16(first + 2 * n) & 0x7fff : view.getUint8(first + n) & 0x7f)
    if (id === wanted) return { indices: Array.from({ length }, (_, n) => indexAt(n)), isWide, at, end }
    at = end
  }
  return undefined
}

/** Whether the ids of items have 32 bits. */
function hasWideIds(view: DataView, { data }: Box): boolean {
  return view.getUint8(data) > 0
}
