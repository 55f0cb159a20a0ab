/**
 * What the beginning of a picture says of its size and frames, for the formats of which libvips would read, unpack or
 * allocate more than that. Each reader stops where the bytes do; undefined is for what is no picture as far as they go.
 */

/** Pixels of one frame, as a person sees it: orientation applied. */
export type PictureHeader = { width: number; height: number; frames: number }

/** GIF89a, https://www.w3.org/Graphics/GIF/spec-gif89a.txt; a screen grows to hold its frames, as in browsers. */
export function readGif(bytes: Uint8Array): PictureHeader | undefined {
  if (!/^GIF8[79]a$/.test(textAt(bytes, 0, 6)) || bytes.length < 13) return undefined
  const view = viewOf(bytes)
  let [width, height, frames] = [view.getUint16(6, true), view.getUint16(8, true), 0]
  let at = 13 + colourTableBytes(view.getUint8(10))
  while (at + 10 <= bytes.length) {
    const introducer = bytes[at]
    if (introducer === 0x2c) {
      width = Math.max(width, view.getUint16(at + 5, true))
      height = Math.max(height, view.getUint16(at + 7, true))
      frames += 1
      at = afterSubBlocks(bytes, at + 10 + colourTableBytes(view.getUint8(at + 9)) + 1)
    } else if (introducer === 0x21) at = afterSubBlocks(bytes, at + 2)
    else break
  }
  return pictureOf(width, height, frames)
}

/** https://developers.google.com/speed/webp/docs/riff_container */
export function readWebp(bytes: Uint8Array): PictureHeader | undefined {
  if (textAt(bytes, 0, 4) !== 'RIFF' || textAt(bytes, 8, 4) !== 'WEBP') return undefined
  const view = viewOf(bytes)
  let canvas: [number, number] | undefined
  let still = false
  let frames = 0
  let orientation = 1
  for (const { type, data, end } of chunksOf(bytes, 12)) {
    if (type === 'VP8X' && data + 10 <= end)
      canvas = [1 + (view.getUint32(data + 3, true) >>> 8), 1 + (view.getUint32(data + 6, true) >>> 8)]
    else if (type === 'VP8 ' || type === 'VP8L') {
      canvas ??= type === 'VP8L' ? losslessSize(view, data) : lossySize(view, data)
      still = true
    } else if (type === 'ANMF') frames += 1
    else if (type === 'EXIF') orientation = readOrientation(bytes.subarray(data, end))
  }
  if (canvas === undefined || !(still || frames > 0)) return undefined
  const [width, height] = canvas
  return orientation > 4 ? pictureOf(height, width, Math.max(1, frames)) : pictureOf(width, height, Math.max(1, frames))
}

/**
 * https://www.w3.org/TR/png-3/. `essentials` is a picture of the same size and orientation, without what libpng would
 * unpack on its way to the pixels: 1 MiB of text or colour profiles can become 1 GiB.
 */
export function readPng(bytes: Uint8Array): { essentials: Uint8Array; frames: number } | undefined {
  const view = viewOf(bytes)
  const essentials = [bytes.subarray(0, PNG_SIGNATURE_BYTES)]
  let frames = 1
  for (let at = PNG_SIGNATURE_BYTES; at + 12 <= bytes.length; ) {
    const end = at + 12 + view.getUint32(at)
    const type = textAt(bytes, at + 4, 4)
    if (type === 'acTL' && end <= bytes.length) frames = view.getUint32(at + 8)
    if (PNG_ESSENTIALS.has(type)) essentials.push(bytes.subarray(at, end))
    // libpng stops where the pixels begin.
    if (type === 'IDAT') return { essentials: Buffer.concat([...essentials, bytes.subarray(at, at + 8)]), frames }
    at = end
  }
  return undefined
}

/** Whether it is a PNG of more than one frame, of which libvips 8.18 knows the first alone. */
export function isAnimatedPng(bytes: Uint8Array): boolean {
  if (textAt(bytes, 1, 3) !== 'PNG') return false
  for (const { type } of pngChunks(bytes)) {
    if (type === 'acTL') return true
    if (type === 'IDAT') return false
  }
  return false
}

/** A PNG of those chunks alone that say what it looks like, and how it moves. */
export function pixelsOfPng(bytes: Uint8Array): Uint8Array {
  const kept = [bytes.subarray(0, PNG_SIGNATURE_BYTES)]
  for (const { type, chunk } of pngChunks(bytes)) {
    if (PNG_LOOKS.has(type)) kept.push(chunk)
    if (type === 'IEND') break
  }
  return Buffer.concat(kept)
}

function* pngChunks(bytes: Uint8Array): Generator<{ type: string; chunk: Uint8Array }> {
  const view = viewOf(bytes)
  for (let at = PNG_SIGNATURE_BYTES; at + 12 <= bytes.length; ) {
    const end = at + 12 + view.getUint32(at)
    yield { type: textAt(bytes, at + 4, 4), chunk: bytes.subarray(at, end) }
    at = end
  }
}

/**
 * Whether an AVIF or HEIC has a film in it (ISO/IEC 14496-12, `moov`): libheif 1.23 makes room for every frame that it
 * claims, 1 GiB for a file of 2 KiB.
 */
export function hasFilm(bytes: Uint8Array): boolean {
  const view = viewOf(bytes)
  for (let at = 0; at + 8 <= bytes.length; ) {
    if (textAt(bytes, at + 4, 4) === 'moov') return true
    const size = view.getUint32(at)
    // 0: to the end of the file; 1: a size of 64 bits follows.
    if (size === 0 || (size === 1 && at + 16 > bytes.length)) return false
    at += Math.max(8, size === 1 ? Number(view.getBigUint64(at + 8)) : size)
  }
  return false
}

const PNG_SIGNATURE_BYTES = 8
const PNG_LOOKS = new Set(
  ['IHDR PLTE tRNS IDAT IEND', 'acTL fcTL fdAT', 'gAMA cHRM sRGB iCCP cICP sBIT'].flatMap((types) => types.split(' ')),
)
const PNG_ESSENTIALS = new Set(['IHDR', 'PLTE', 'tRNS', 'eXIf'])

function pictureOf(width: number, height: number, frames: number): PictureHeader | undefined {
  return width > 0 && height > 0 && frames > 0 ? { width, height, frames } : undefined
}

function colourTableBytes(flags: number): number {
  return flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0
}

function afterSubBlocks(bytes: Uint8Array, from: number): number {
  let at = from
  for (let length = bytes[at]; length !== undefined && length > 0; length = bytes[at]) at += 1 + length
  return at + 1
}

function* chunksOf(bytes: Uint8Array, from: number): Generator<{ type: string; data: number; end: number }> {
  const view = viewOf(bytes)
  for (let at = from; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at + 4, true)
    yield { type: textAt(bytes, at, 4), data: at + 8, end: Math.min(at + 8 + size, bytes.length) }
    at += 8 + size + (size % 2)
  }
}

/** RFC 6386, section 9.1; only a key frame says its size. */
function lossySize(view: DataView, at: number): [number, number] | undefined {
  if (at + 10 > view.byteLength || view.getUint8(at) & 1 || view.getUint32(at + 2) % 2 ** 24 !== 0x9d012a)
    return undefined
  return [view.getUint16(at + 6, true) & 0x3fff, view.getUint16(at + 8, true) & 0x3fff]
}

/** https://developers.google.com/speed/webp/docs/webp_lossless_bitstream_specification, section 3 */
function losslessSize(view: DataView, at: number): [number, number] | undefined {
  if (at + 5 > view.byteLength || view.getUint8(at) !== 0x2f) return undefined
  const bits = view.getUint32(at + 1, true)
  return [1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff)]
}

/** 1 to 8, as in Exif 2.32, section 4.6.4; 1 where it is anything else. From 5 on, width and height are swapped. */
function readOrientation(exif: Uint8Array): number {
  // Some writers keep the name that the data has in a JPEG.
  const tiff = textAt(exif, 0, 6) === 'Exif\0\0' ? exif.subarray(6) : exif
  const view = viewOf(tiff)
  const little = textAt(tiff, 0, 2) === 'II'
  if (tiff.length < 8) return 1
  const directory = view.getUint32(4, little)
  if (directory + 2 > tiff.length) return 1
  const entries = view.getUint16(directory, little)
  for (let i = 0; i < entries; i += 1) {
    const at = directory + 2 + 12 * i
    if (at + 12 > tiff.length) return 1
    if (view.getUint16(at, little) !== 0x0112) continue
    const orientation = view.getUint16(at + 8, little)
    return orientation <= 8 ? orientation : 1
  }
  return 1
}

function textAt(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length))
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength)
}
