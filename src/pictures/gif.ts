/** Reads the blocks of a GIF89a, https://www.w3.org/Graphics/GIF/spec-gif89a.txt, as browsers do. */
import { textAt, viewOf } from './bytes.ts'
import { checkFrames, countPieces, type PictureHeader } from './limits.ts'

const HEADER_BYTES = 13
const IMAGE = 0x2c
const EXTENSION = 0x21
const CONTROL = 0xf9

/** Of the pixels of the added frame: bits of a pixel, and the codes of LZW that follow from them. */
const [PIXEL_BITS, CLEAR, END, FIRST] = [2, 4, 5, 6]
const MOST_CODES = 4095
const MOST_CODE_BITS = 12
const MOST_BLOCK_BYTES = 255

/**
 * Size and number of frames within these bytes (the beginning of a file, or all of it); undefined if they hold no
 * picture.
 * @throws Problem `image_unreadable` for too many blocks, `image_too_large` for too many frames
 */
export function readGif(bytes: Uint8Array): PictureHeader | undefined {
  const read = readBlocks(bytes)
  return read && { width: read.width, height: read.height, frames: read.frames }
}

/**
 * The GIF for libnsgif (libvips 8.18), and the number of frames to leave out at its beginning. A transparent frame of the
 * whole screen comes first where libnsgif would paint black what no frame covers, or take another size than browsers: it
 * ignores screens of more than 2,048 pixels a side, and of the sizes of old monitors.
 */
export function gifWithScreen(bytes: Uint8Array): { bytes: Uint8Array; added: 0 | 1 } {
  const read = readBlocks(bytes)
  if (read === undefined || read.isPlain) return { bytes, added: 0 }
  const { width, height } = read
  const header = bytes.slice(0, HEADER_BYTES + colourTableBytes(bytes[10] ?? 0))
  const view = viewOf(header)
  // GIF87a has no transparency.
  header[4] = '9'.charCodeAt(0)
  view.setUint16(6, width, true)
  view.setUint16(8, height, true)
  const side = (pixels: number) => [pixels & 255, pixels >> 8]
  const control = [EXTENSION, CONTROL, 4, 1, 0, 0, 0, 0]
  // A colour table of its own, of two colours.
  const descriptor = [IMAGE, 0, 0, 0, 0, ...side(width), ...side(height), 0x80, 0, 0, 0, 0, 0, 0]
  const frame = Uint8Array.from([...control, ...descriptor, PIXEL_BITS])
  return {
    bytes: Buffer.concat([header, frame, ...blocksOfZeros(width * height), bytes.subarray(header.length)]),
    added: 1,
  }
}

/** `isPlain`: the first frame covers the screen exactly. */
type Blocks = PictureHeader & { isPlain: boolean }

function readBlocks(bytes: Uint8Array): Blocks | undefined {
  if (!/^GIF8[79]a$/.test(textAt(bytes, 0, 6)) || bytes.length < HEADER_BYTES) return undefined
  const view = viewOf(bytes)
  const count = countPieces(bytes.length)
  let [width, height] = [view.getUint16(6, true), view.getUint16(8, true)]
  let frames = 0
  let isPlain = false
  let at = HEADER_BYTES + colourTableBytes(view.getUint8(10))
  while (at + 10 <= bytes.length) {
    const introducer = bytes[at]
    if (introducer !== IMAGE && introducer !== EXTENSION) break
    count.piece()
    if (introducer === IMAGE) {
      frames += 1
      checkFrames(frames)
      const right = view.getUint16(at + 1, true) + view.getUint16(at + 5, true)
      const bottom = view.getUint16(at + 3, true) + view.getUint16(at + 7, true)
      // Browsers enlarge the screen to hold the first frame.
      if (frames === 1) {
        width = Math.max(width, right)
        height = Math.max(height, bottom)
        isPlain = view.getUint32(at + 1) === 0 && right === width && bottom === height
      }
      at += 10 + colourTableBytes(view.getUint8(at + 9)) + 1
    } else at += 2
    for (let length = bytes[at]; length !== undefined && length > 0; length = bytes[at]) {
      count.pixelPiece()
      at += 1 + length
    }
    at += 1
  }
  if (width === 0 || height === 0 || frames === 0) return undefined
  return { width, height, frames, isPlain }
}

function colourTableBytes(flags: number): number {
  return flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0
}

/** So many pixels of the first colour, as LZW in blocks: each code stands for one pixel more than the one before. */
function blocksOfZeros(pixels: number): Uint8Array[] {
  const bytes: number[] = []
  let [held, heldBits, codeBits] = [0, 0, PIXEL_BITS + 1]
  const emit = (code: number) => {
    held |= code << heldBits
    for (heldBits += codeBits; heldBits >= 8; heldBits -= 8) {
      bytes.push(held & 255)
      held >>>= 8
    }
  }
  for (let left = pixels; left > 0; ) {
    emit(CLEAR)
    codeBits = PIXEL_BITS + 1
    emit(0)
    left -= 1
    for (let codes = FIRST, run = 2; left > 0 && codes < MOST_CODES; run += 1) {
      const length = Math.min(left, run)
      emit(length === 1 ? 0 : FIRST + length - 2)
      left -= length
      codes += 1
      if (codes === 1 << codeBits && codeBits < MOST_CODE_BITS) codeBits += 1
    }
  }
  emit(END)
  bytes.push(held & 255)
  const blocks: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += MOST_BLOCK_BYTES) {
    const block = bytes.slice(at, at + MOST_BLOCK_BYTES)
    blocks.push(Uint8Array.of(block.length, ...block))
  }
  return [...blocks, Uint8Array.of(0)]
}
