/** Reads the segments of a JPEG (ITU-T T.81, annex B) as libjpeg does. */
import { createCut, textAt, viewOf } from './bytes.ts'
import { countPieces, MAX_PROFILE_BYTES, MAX_SCANS, unreadable } from './limits.ts'

const RST0 = 0xd0
const RST7 = 0xd7
const SOI = 0xd8
const EOI = 0xd9
const SOS = 0xda
const TEM = 0x01
const APP0 = 0xe0
const APP1 = 0xe1
const APP2 = 0xe2
const APP14 = 0xee
const APP15 = 0xef
const COM = 0xfe

/**
 * Returns the number of scans. Restart markers count as pixel data: some cameras write one for each block.
 * @throws Problem `image_unreadable` for too many segments or scans
 */
export function checkJpeg(bytes: Uint8Array): number {
  const count = countPieces(bytes.length)
  let scans = 0
  walk(bytes, (marker) => {
    count.piece()
    if (marker === SOS) scans += 1
    if (scans > MAX_SCANS) unreadable(`The picture has more than ${MAX_SCANS} scans.`)
  })
  return scans
}

/**
 * The JPEG for libjpeg. Beside the pixels it keeps only segments that change the appearance: JFIF, Adobe's colour
 * transform, EXIF (for the orientation) and the colour profile, the last two of at most `MAX_PROFILE_BYTES` each.
 * libvips would hold every other segment in memory, and copy it.
 */
export function cutJpeg(bytes: Uint8Array): Uint8Array {
  const { cut, profileBytes } = cutSegments(bytes, true)
  return (profileBytes <= MAX_PROFILE_BYTES ? cut : cutSegments(bytes, false).cut).result()
}

function cutSegments(bytes: Uint8Array, profile: boolean) {
  const cut = createCut(bytes)
  let kept = 0
  let exifBytes = 0
  let profileBytes = 0
  walk(bytes, (marker, at, end) => {
    if (isShown(marker, at, end)) return
    cut.keep(kept, at)
    kept = end
  })
  cut.keep(kept, bytes.length)
  return { cut, profileBytes }

  function isShown(marker: number, at: number, end: number): boolean {
    if (marker === APP2 && isProfile(bytes, at)) {
      profileBytes += end - at
      return profile
    }
    if (marker === APP1 && textAt(bytes, at + 4, 4) === 'Exif') {
      exifBytes += end - at
      return exifBytes <= MAX_PROFILE_BYTES
    }
    return marker === APP0 || marker === APP14 || marker === SOS || marker < APP0 || (marker > APP15 && marker !== COM)
  }
}

/** https://www.color.org/ICC1V42.pdf, annex B.4 */
function isProfile(bytes: Uint8Array, at: number): boolean {
  return textAt(bytes, at + 4, 12) === 'ICC_PROFILE\0'
}

/**
 * Calls `visit` with each segment up to EOI: its marker, the marker's offset (without fill bytes), and the segment's
 * end. Bytes between segments are pixel data after SOS; elsewhere libjpeg skips them.
 */
function walk(bytes: Uint8Array, visit: (marker: number, at: number, end: number) => void): void {
  const view = viewOf(bytes)
  let at = 0
  while (at + 4 <= bytes.length) {
    if (bytes[at] !== 0xff) {
      const next = bytes.indexOf(0xff, at)
      if (next === -1) return
      at = next
      continue
    }
    const marker = bytes[at + 1] ?? 0
    if (marker === EOI) return
    if (marker === 0xff) at += 1
    else if (isAlone(marker)) at += 2
    else {
      const end = at + 2 + Math.max(2, view.getUint16(at + 2))
      visit(marker, at, end)
      at = end
    }
  }
}

/** 0xff followed by zero is a byte of pixel data; the others are markers without a segment. */
function isAlone(marker: number): boolean {
  return marker === 0 || marker === TEM || marker === SOI || (marker >= RST0 && marker <= RST7)
}
