/** Reads what the boxes of an AVIF or HEIC declare about its primary picture (ISO/IEC 23008-12), without decoding it. */
import { BOX_HEADER_BYTES, type Box, boxAt, boxesIn, findBox } from './boxes.ts'
import { fourCC, viewOf } from './bytes.ts'
import { countPieces, INSPECTED_BYTES, type PictureHeader } from './limits.ts'
import type { Outline } from './outline.ts'
import { place, type Transform } from './placement.ts'

/**
 * Size as coded, and what is done to the picture, in this order, before it is shown. EXIF does not count. `cropsAt`:
 * where the crops among them are in the file.
 */
export type HeifPicture = { width: number; height: number; transforms: Transform[]; cropsAt: number[] }

const ISPE = fourCC('ispe')
const IROT = fourCC('irot')
const IMIR = fourCC('imir')
const CLAP = fourCC('clap')
// Version and flags, with which many boxes begin.
const FULL_BOX_BYTES = 4
const CLAP_BYTES = 32
// With a size of 64 bits.
const LARGE_HEADER_BYTES = 16

/** Size as shown; undefined as for `readHeif`. */
export function sizeOfHeif(bytes: Uint8Array): PictureHeader | undefined {
  const picture = readHeif(bytes)
  if (picture === undefined) return undefined
  const { width, height } = place(picture, picture.transforms)
  return { width, height, frames: 1 }
}

/**
 * Undefined for a file whose boxes do not say, or are not all in `bytes`, the beginning of the file.
 * @throws Problem `image_unreadable` for too many boxes
 */
export function readHeif(bytes: Uint8Array): HeifPicture | undefined {
  const view = viewOf(bytes)
  const { piece } = countPieces(bytes.length)
  const inside = (box: Box | undefined, before = 0) =>
    box === undefined ? [] : boxesIn(view, { start: box.data + before, end: box.end }, piece)
  try {
    const meta = findBox(boxesIn(view, { start: 0, end: bytes.length }, piece), 'meta')
    const pitm = findBox(inside(meta, FULL_BOX_BYTES), 'pitm')
    const iprp = findBox(inside(meta, FULL_BOX_BYTES), 'iprp')
    const ipco = findBox(inside(iprp), 'ipco')
    if (pitm === undefined || ipco === undefined) return undefined
    const id = isWide(view, pitm) ? view.getUint32(pitm.data + 4) : view.getUint16(pitm.data + 4)
    const properties = [...inside(ipco)]
    const ipma = fourCC('ipma')
    for (const box of inside(iprp)) {
      if (box.type !== ipma) continue
      const indices = associationsOf(view, box, id, piece)
      if (indices !== undefined)
        return pictureOf(
          view,
          indices.flatMap((index) => properties[index - 1] ?? []),
        )
    }
  } catch (error) {
    // A box that is cut off.
    if (!(error instanceof RangeError)) throw error
  }
  return undefined
}

/** The box `meta`, wherever it is. */
export const outlineOfHeif: Outline = async (reading) => {
  const { piece } = countPieces(reading.sizeBytes)
  const meta = fourCC('meta')
  for (let at = 0; ; ) {
    const header = await reading.at(at, LARGE_HEADER_BYTES)
    if (header.length < BOX_HEADER_BYTES) return undefined
    piece()
    const { type, end } = boxAt(viewOf(header), 0, reading.sizeBytes - at)
    if (type === meta) return reading.at(at, Math.min(end, INSPECTED_BYTES))
    at += end
  }
}

/** Whether the ids of items have 32 bits. */
function isWide(view: DataView, { data }: Box): boolean {
  return view.getUint8(data) > 0
}

/** The properties of an item, in order, as numbers from 1 on. */
function associationsOf(view: DataView, box: Box, wanted: number, piece: () => void): number[] | undefined {
  const wideIds = isWide(view, box)
  const wideIndices = (view.getUint8(box.data + 3) & 1) === 1
  const entries = view.getUint32(box.data + FULL_BOX_BYTES)
  let at = box.data + FULL_BOX_BYTES + 4
  for (let entry = 0; entry < entries && at < box.end; entry += 1) {
    piece()
    const id = wideIds ? view.getUint32(at) : view.getUint16(at)
    at += wideIds ? 4 : 2
    const first = at + 1
    const length = view.getUint8(at)
    const each = wideIndices ? 2 : 1
    at = first + length * each
    // The highest bit says whether the property is essential.
    const indexAt = (n: number) =>
      wideIndices ? view.getUint16(first + n * 2) & 0x7fff : view.getUint8(first + n) & 0x7f
    if (id === wanted) return Array.from({ length }, (_, n) => indexAt(n))
  }
  return undefined
}

function pictureOf(view: DataView, properties: Box[]): HeifPicture | undefined {
  const size = properties.find(({ type }) => type === ISPE)
  if (size === undefined) return undefined
  const width = view.getUint32(size.data + FULL_BOX_BYTES)
  const height = view.getUint32(size.data + FULL_BOX_BYTES + 4)
  if (width === 0 || height === 0) return undefined
  return {
    ...{ width, height, transforms: properties.flatMap((box) => transformOf(view, box) ?? []) },
    cropsAt: properties.filter(({ type }) => type === CLAP).map(({ data }) => data),
  }
}

function transformOf(view: DataView, { type, data, end }: Box): Transform | undefined {
  if (type === IROT) return { kind: 'turn', quarters: (4 - (view.getUint8(data) & 3)) % 4 }
  if (type === IMIR) return { kind: 'mirror', swaps: (view.getUint8(data) & 1) === 1 ? 'sides' : 'top and bottom' }
  if (type !== CLAP || end - data < CLAP_BYTES) return undefined
  const fraction = (n: number) => view.getUint32(data + 8 * n) / view.getUint32(data + 8 * n + 4)
  const offset = (n: number) => view.getInt32(data + 8 * n) / view.getUint32(data + 8 * n + 4)
  return { kind: 'crop', width: fraction(0), height: fraction(1), fromCentre: { x: offset(2), y: offset(3) } }
}
