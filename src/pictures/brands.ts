/** Tells AVIF from HEIC by the brands of a file (ISO/IEC 14496-12, section 4.3; MIAF, ISO/IEC 23000-22). */
import { BOX_HEADER_BYTES } from './boxes.ts'
import { textAt, viewOf } from './bytes.ts'

// Size, type, major brand and minor version.
const FIXED_BYTES = 16
const BRAND_BYTES = 4
// The format's own brands are among the first: writers name fewer than ten.
const MOST_BRANDS = 64

const AVIF = new Set(['avif', 'avis'])
const HEIC = new Set(['heic', 'heix', 'heim', 'heis', 'hevc', 'hevx', 'hevm', 'hevs'])
/** Major brands that name the structure of the file but not the codec, which only a compatible brand does. */
const STRUCTURES = new Set(['mif1', 'mif2', 'msf1', 'miaf', 'MA1A', 'MA1B', 'MiHB', 'MiHA', 'MiHE', 'tmap', '1pic'])

/** Undefined for a file that is neither, judged by the box `ftyp` at its beginning. */
export function typeOfBrands(bytes: Uint8Array): 'image/avif' | 'image/heic' | undefined {
  if (bytes.length < FIXED_BYTES || textAt(bytes, 4, 4) !== 'ftyp') return undefined
  const major = textAt(bytes, BOX_HEADER_BYTES, BRAND_BYTES)
  const named = typeOf(major)
  if (named !== undefined || !STRUCTURES.has(major)) return named
  const end = Math.min(bytes.length, viewOf(bytes).getUint32(0), FIXED_BYTES + MOST_BRANDS * BRAND_BYTES)
  for (let at = FIXED_BYTES; at + BRAND_BYTES <= end; at += BRAND_BYTES) {
    const compatible = typeOf(textAt(bytes, at, BRAND_BYTES))
    if (compatible !== undefined) return compatible
  }
  return undefined
}

function typeOf(brand: string): 'image/avif' | 'image/heic' | undefined {
  if (AVIF.has(brand)) return 'image/avif'
  return HEIC.has(brand) ? 'image/heic' : undefined
}
