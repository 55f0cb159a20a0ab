/** Reads the blocks of a GIF89a, https://www.w3.org/Graphics/GIF/spec-gif89a.txt, as libnsgif of libvips 8.18 does. */
import { textAt, viewOf } from './bytes.ts'
import { checkFrames, countPieces, type PictureHeader } from './limits.ts'

const HEADER_BYTES = 13
const IMAGE = 0x2c
const EXTENSION = 0x21

// Some programs wrote the monitor's size; libnsgif then uses the first frame's size, as it does when there is none.
const SCREENS = new Set(['640x480', '640x512', '800x600', '1024x768', '1280x1024', '1600x1200'])
const LARGEST_SCREEN = 2048

/**
 * Size and number of frames within these bytes (the beginning of a file, or all of it); undefined if they hold no
 * picture.
 * @throws Problem `image_unreadable` for too many blocks, `image_too_large` for too many frames
 */
export function readGif(bytes: Uint8Array): PictureHeader | undefined {
  if (!/^GIF8[79]a$/.test(textAt(bytes, 0, 6)) || bytes.length < HEADER_BYTES) return undefined
  const view = viewOf(bytes)
  const count = countPieces(bytes.length)
  let [width, height] = screenOf(view.getUint16(6, true), view.getUint16(8, true))
  let frames = 0
  let at = HEADER_BYTES + colourTableBytes(view.getUint8(10))
  while (at + 10 <= bytes.length) {
    const introducer = bytes[at]
    if (introducer !== IMAGE && introducer !== EXTENSION) break
    count.piece()
    if (introducer === IMAGE) {
      frames += 1
      checkFrames(frames)
      // libnsgif enlarges the screen to hold the first frame.
      if (frames === 1) {
        width = Math.max(width, view.getUint16(at + 1, true) + view.getUint16(at + 5, true))
        height = Math.max(height, view.getUint16(at + 3, true) + view.getUint16(at + 7, true))
      }
      at += 10 + colourTableBytes(view.getUint8(at + 9)) + 1
    } else at += 2
    for (let length = bytes[at]; length !== undefined && length > 0; length = bytes[at]) {
      count.pixelPiece()
      at += 1 + length
    }
    at += 1
  }
  return width > 0 && height > 0 && frames > 0 ? { width, height, frames } : undefined
}

function screenOf(width: number, height: number): [width: number, height: number] {
  const none = width === 0 || height === 0 || width > LARGEST_SCREEN || height > LARGEST_SCREEN
  return none || SCREENS.has(`${width}x${height}`) ? [0, 0] : [width, height]
}

function colourTableBytes(flags: number): number {
  return flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0
}
