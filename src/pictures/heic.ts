/** Decodes a HEIC, tile by tile, in a decoder process: libvips as sharp ships it decodes none. */
import { fourCC, viewOf } from './bytes.ts'
import { sequencesOf } from './heif.ts'
import { type HeifPicture, readHeif } from './heif-picture.ts'
import { type HeifFile, openHeif, type Pixels } from './libheif.ts'
import { MAX_DECODED_PIXELS, tooLarge, unreadable } from './limits.ts'
import { indexOf, type Placement, place } from './placement.ts'
import { createRawTiff } from './raw-tiff.ts'

const FREE = fourCC('free')

/**
 * An uncompressed TIFF of the picture as shown, with its ICC profile. Its EXIF orientation, which the boxes make
 * meaningless, its thumbnails, depth and gain maps are left out.
 * @throws Problem `image_too_large` for more declared pixels than are decoded, or libheif's error
 */
export function heicToTiff(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const picture = readHeif(bytes) ?? unreadable()
  checkPixels(picture)
  const file = openHeif(bytesFor(bytes, picture))
  try {
    checkPixels(file)
    return tiffOf(file, picture)
  } finally {
    file.close()
  }
}

/**
 * The bytes for libheif (1.23), which takes a picture for larger than it says when more than 64 rows or columns are
 * cropped, and would allocate memory for every frame that a sequence claims. A copy if anything is changed.
 */
function bytesFor(bytes: Uint8Array, { cropsAt, width, height }: HeifPicture): Uint8Array {
  const sequences = sequencesOf(bytes)
  if (sequences.length + cropsAt.length === 0) return bytes
  const copy = bytes.slice()
  const view = viewOf(copy)
  for (const at of sequences) view.setUint32(at + 4, FREE)
  for (const at of cropsAt)
    for (const [i, value] of [width, 1, height, 1, 0, 1, 0, 1].entries()) view.setUint32(at + 4 * i, value)
  return copy
}

function checkPixels({ width, height }: { width: number; height: number }): void {
  if (width * height > MAX_DECODED_PIXELS) throw tooLarge('The picture has too many pixels to be decoded.')
}

function tiffOf(file: HeifFile, { transforms }: HeifPicture): Uint8Array<ArrayBuffer> {
  const { tiles, channels } = file
  const profile = file.profile()
  const first = file.decode(0, 0)
  // What is coded counts where the boxes declare another size.
  const coded = tiles.columns * tiles.rows === 1 ? first : file
  checkPixels(coded)
  const placement = place(coded, transforms)
  const tiff = createRawTiff({ width: placement.width, height: placement.height, channels, profile })
  for (let row = 0; row < tiles.rows; row += 1)
    for (let column = 0; column < tiles.columns; column += 1) {
      const pixels = row + column === 0 ? first : file.decode(column, row)
      copy(pixels, { left: column * tiles.width, top: row * tiles.height }, placement, tiff.pixels, channels)
    }
  return tiff.file
}

/** Copies what of a tile is shown to where it is shown. */
function copy(
  { bytes, stride, width, height }: Pixels,
  tile: { left: number; top: number },
  placement: Placement,
  target: Uint8Array,
  channels: 3 | 4,
): void {
  const { part } = placement
  const [left, right] = [Math.max(tile.left, part.left), Math.min(tile.left + width, part.left + part.width)]
  const [top, bottom] = [Math.max(tile.top, part.top), Math.min(tile.top + height, part.top + part.height)]
  const step = (indexOf(placement, 1, 0) - indexOf(placement, 0, 0)) * channels
  for (let y = top; y < bottom; y += 1) {
    let from = (y - tile.top) * stride + (left - tile.left) * channels
    let to = indexOf(placement, left - part.left, y - part.top) * channels
    const end = from + (right - left) * channels
    if (step === channels) target.set(bytes.subarray(from, end), to)
    else
      for (; from < end; from += channels, to += step)
        for (let channel = 0; channel < channels; channel += 1) target[to + channel] = bytes[from + channel] ?? 0
  }
}
