/** Reads what the boxes of an AVIF or HEIC declare about its primary picture (ISO/IEC 23008-12), without decoding it. */
import { BOX_HEADER_BYTES, type Box, boxAt, boxesIn, findBox } from './boxes.ts'
import { fourCC, viewOf } from './bytes.ts'
import { associationsOf, FULL_BOX_BYTES, primaryItemOf } from './item-properties.ts'
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
    const id = primaryItemOf(view, pitm)
    const properties = [...inside(ipco)]
    const ipma = fourCC('ipma')
    for (const box of inside(iprp)) {
      if (box.type !== ipma) continue
      const found = associationsOf(view, box, id, piece)
      if (found === undefined) continue
      const own = found.indices.flatMap((index) => properties[index - 1] ?? [])
      return pictureOf(view, own)
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
