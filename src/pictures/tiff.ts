/** Reads the directories of a TIFF (TIFF 6.0 and BigTIFF), and of EXIF, which has the same format. */
import { textAt, viewOf } from './bytes.ts'
import { countPieces, type PictureHeader } from './limits.ts'

const WIDTH = 0x100
const HEIGHT = 0x101
const ORIENTATION = 0x112
const BYTE = 1
const SHORT = 3
const LONG = 4
const LONG8 = 16
const BIG = 43
/** That of a BigTIFF; the header of others is shorter. */
export const TIFF_HEADER_BYTES = 16

/** Whether the file begins as a TIFF does, BigTIFF included. */
export function isTiff(bytes: Uint8Array): boolean {
  return openTiff(bytes) !== undefined
}

/**
 * Size of the first picture, wherever its directory is in the file; undefined if there is none.
 * @throws Problem `image_unreadable` for too many entries
 */
export function readTiff(bytes: Uint8Array): PictureHeader | undefined {
  const file = openTiff(bytes)
  if (file === undefined) return undefined
  const count = countPieces(bytes.length)
  const tags = new Map<number, number>()
  readDirectory(file, file.first, (tag, value) => {
    count.piece()
    // The first entry of each tag counts.
    if ((tag === WIDTH || tag === HEIGHT || tag === ORIENTATION) && !tags.has(tag)) tags.set(tag, value)
  })
  const [width, height] = [tags.get(WIDTH), tags.get(HEIGHT)]
  if (!width || !height) return undefined
  const upright = upturned(tags.get(ORIENTATION)) > 4 ? { width: height, height: width } : { width, height }
  return { ...upright, frames: 1 }
}

/** @throws Problem `image_unreadable` for too many directories or entries, and so for a cycle of directories */
export function checkTiff(bytes: Uint8Array): void {
  const file = openTiff(bytes)
  const count = countPieces(bytes.length)
  for (let at = file?.first; file !== undefined && at; ) {
    count.piece()
    at = readDirectory(file, at, count.piece)
  }
}

/**
 * The orientation, 1 to 8 (Exif 2.32, section 4.6.4); 1 for any other value. From 5 on, width and height are swapped.
 */
export function readOrientation(exif: Uint8Array): number {
  // Some writers keep the identifier that precedes EXIF in a JPEG.
  const file = openTiff(textAt(exif, 0, 6) === 'Exif\0\0' ? exif.subarray(6) : exif)
  let orientation: number | undefined
  if (file !== undefined)
    readDirectory(file, file.first, (tag, value) => {
      if (tag === ORIENTATION) orientation ??= value
    })
  return upturned(orientation)
}

type File = { view: DataView; little: boolean; big: boolean; first: number }

/** Undefined if `bytes`, the beginning of a file, is not that of a TIFF. */
export function openTiff(bytes: Uint8Array): File | undefined {
  if (bytes.length < TIFF_HEADER_BYTES) return undefined
  const view = viewOf(bytes)
  const little = textAt(bytes, 0, 2) === 'II'
  const version = view.getUint16(2, little)
  if ((!little && textAt(bytes, 0, 2) !== 'MM') || (version !== 42 && version !== BIG)) return undefined
  const big = version === BIG
  return { view, little, big, first: big ? Number(view.getBigUint64(8, little)) : view.getUint32(4, little) }
}

/** Sizes in bytes: of the number of entries before a directory, of an entry, and of the offset of the next directory. */
export function directoryLayout({ big }: Pick<File, 'big'>): { counter: number; entry: number; next: number } {
  return big ? { counter: 8, entry: 20, next: 8 } : { counter: 2, entry: 12, next: 4 }
}

/** Calls `visit` with each entry's tag and value; returns the offset of the next directory, or 0. */
function readDirectory(
  { view, little, big }: File,
  directory: number,
  visit: (tag: number, value: number) => void,
): number {
  const { counter, entry, next } = directoryLayout({ big })
  if (directory + counter > view.byteLength) return 0
  const entries = big ? Number(view.getBigUint64(directory, little)) : view.getUint16(directory, little)
  let at = directory + counter
  for (let i = 0; i < entries; i += 1) {
    if (at + entry > view.byteLength) return 0
    visit(view.getUint16(at, little), numberOf(view, at, little, big))
    at += entry
  }
  if (at + next > view.byteLength) return 0
  return big ? Number(view.getBigUint64(at, little)) : view.getUint32(at, little)
}

/** The value of an entry; 0 unless it is a single whole number stored in the entry itself. */
function numberOf(view: DataView, at: number, little: boolean, big: boolean): number {
  const value = at + (big ? 12 : 8)
  const type = view.getUint16(at + 2, little)
  const count = big ? Number(view.getBigUint64(at + 4, little)) : view.getUint32(at + 4, little)
  if (count !== 1) return 0
  if (type === BYTE) return view.getUint8(value)
  if (type === SHORT) return view.getUint16(value, little)
  if (type === LONG) return view.getUint32(value, little)
  return big && type === LONG8 ? Number(view.getBigUint64(value, little)) : 0
}

function upturned(orientation = 1): number {
  return orientation >= 1 && orientation <= 8 ? orientation : 1
}
