/** Builds an uncompressed TIFF (TIFF 6.0), the only format in which libvips takes raw pixels with their ICC profile. */

/** `pixels`: the part of `file` that holds them, row by row, for the caller to fill. */
export type RawTiff = { file: Uint8Array<ArrayBuffer>; pixels: Uint8Array<ArrayBuffer> }

type Picture = { width: number; height: number; channels: 3 | 4; profile: Uint8Array | undefined }

const SHORT = 3
const LONG = 4
const UNDEFINED = 7
const BYTES: Record<number, number> = { [SHORT]: 2, [LONG]: 4, [UNDEFINED]: 1 }
const HEADER_BYTES = 8
const ENTRY_BYTES = 12
// libtiff reads a strip at once.
const ROWS_PER_STRIP = 64

/** Eight bits per channel. */
export function createRawTiff({ width, height, channels, profile }: Picture): RawTiff {
  const rowBytes = width * channels
  const strips = Array.from({ length: Math.ceil(height / ROWS_PER_STRIP) }, (_, i) => i * ROWS_PER_STRIP)
  const stripBytes = strips.map((row) => Math.min(ROWS_PER_STRIP, height - row) * rowBytes)
  const entries = (pixelsAt: number): [tag: number, type: number, values: ArrayLike<number>][] => [
    [0x100, LONG, [width]],
    [0x101, LONG, [height]],
    // Bits per channel, no compression, RGB.
    [0x102, SHORT, Array.from({ length: channels }, () => 8)],
    [0x103, SHORT, [1]],
    [0x106, SHORT, [2]],
    [0x111, LONG, strips.map((row) => pixelsAt + row * rowBytes)],
    [0x115, SHORT, [channels]],
    [0x116, LONG, [ROWS_PER_STRIP]],
    [0x117, LONG, stripBytes],
    [0x11c, SHORT, [1]],
    // The fourth channel is alpha, by which the others are not multiplied.
    ...(channels === 4 ? [[0x152, SHORT, [2]] as [number, number, number[]]] : []),
    ...(profile === undefined ? [] : [[0x8773, UNDEFINED, profile] as [number, number, Uint8Array]]),
  ]
  // Offsets have the same number of bytes whatever they are.
  const headBytes = write(entries(0), undefined)
  const file = new Uint8Array(headBytes + rowBytes * height)
  write(entries(headBytes), new DataView(file.buffer))
  return { file, pixels: file.subarray(headBytes) }
}

/** Writes header and directory, and returns their length. */
function write(entries: [tag: number, type: number, values: ArrayLike<number>][], view: DataView | undefined): number {
  view?.setUint32(0, 0x49492a00)
  view?.setUint32(4, HEADER_BYTES, true)
  view?.setUint16(HEADER_BYTES, entries.length, true)
  let at = HEADER_BYTES + 2
  let valuesAt = at + entries.length * ENTRY_BYTES + 4
  for (const [tag, type, values] of entries) {
    const each = BYTES[type] ?? 1
    view?.setUint16(at, tag, true)
    view?.setUint16(at + 2, type, true)
    view?.setUint32(at + 4, values.length, true)
    const fits = values.length * each <= 4
    if (!fits) view?.setUint32(at + 8, valuesAt, true)
    for (let i = 0; i < values.length; i += 1) put(view, (fits ? at + 8 : valuesAt) + i * each, each, values[i] ?? 0)
    // Values begin at even offsets.
    if (!fits) valuesAt += values.length * each + ((values.length * each) % 2)
    at += ENTRY_BYTES
  }
  return valuesAt
}

function put(view: DataView | undefined, at: number, bytes: number, value: number): void {
  if (bytes === 1) view?.setUint8(at, value)
  else if (bytes === 2) view?.setUint16(at, value, true)
  else view?.setUint32(at, value, true)
}
