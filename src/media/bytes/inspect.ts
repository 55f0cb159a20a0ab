/** Detects the type and dimensions of a file from its bytes. */

import { fileTypeFromBuffer } from 'file-type'
import { typeOfBrands } from '../../pictures/brands.ts'
import type { ProbeImage } from '../../pictures/image.ts'
import { outlineOfTiff } from '../../pictures/outline.ts'
import { createReading, type Rest } from '../../pictures/reading.ts'
import { isTiff } from '../../pictures/tiff.ts'
import { Problem } from '../../problem.ts'
import { COMPOUND_FILE, declaredType, OLD_OFFICE_TYPES, SVG, TEXT_TYPES, UNDECLARED } from '../object/media-type.ts'
import type { Dimensions } from '../object/object.ts'
import { isSvg, isText } from './text.ts'

export type Inspection = { mimeType: string; dimensions: Dimensions }
/**
 * @param bytes all of the file, or its first `INSPECTED_BYTES` if there is `rest`
 * @param about `declared`: the media type that the client declares, which counts only for types that bytes do not show
 */
export type Inspect = (bytes: Uint8Array, about?: { declared?: string | undefined; rest?: Rest }) => Promise<Inspection>

// file-type is reliable from this many bytes on; more only cost time.
const TYPE_BYTES = 4100
const HEIC = 'image/heic'
const HEIF_TYPES = new Set(['image/heif', 'image/heic-sequence', 'image/heif-sequence'])
const XML = 'application/xml'

/**
 * The returned function throws Problem `media_type_unsupported`, `image_unreadable` or `image_too_large`.
 */
export function createInspect(deps: { allowedTypes: ReadonlySet<string>; probeImage: ProbeImage }): Inspect {
  const { allowedTypes, probeImage } = deps
  return async function inspect(bytes, { declared = '', rest } = {}) {
    const detected = await detectType(bytes, rest)
    const mimeType = acceptType(typeOf(bytes, detected, declaredType(declared)), allowedTypes)
    return { mimeType, dimensions: await probeImage(bytes, mimeType, rest) }
  }
}

/** What the bytes show; undefined when nothing recognizes them. */
async function detectType(bytes: Uint8Array, rest: Rest | undefined): Promise<string | undefined> {
  // The directory of a TIFF, which tells it from the raw formats of cameras, lies behind the pixels mostly.
  const outline = isTiff(bytes) ? await outlineOfTiff(createReading(bytes, rest)) : undefined
  const beginning = outline ?? bytes.subarray(0, TYPE_BYTES)
  const detected = typeOfBrands(beginning) ?? (await fileTypeFromBuffer(beginning))?.mime
  // An animated PNG is a PNG (https://www.w3.org/TR/png-3/); browsers declare it so.
  return detected === 'image/apng' ? 'image/png' : detected
}

function typeOf(bytes: Uint8Array, detected: string | undefined, declared: string): string {
  if (declared === SVG && (detected === undefined || detected === XML) && isSvg(bytes)) return SVG
  if (declared !== SVG && TEXT_TYPES.has(declared) && detected === undefined && isText(bytes)) return declared
  if (OLD_OFFICE_TYPES.has(declared) && detected === COMPOUND_FILE) return declared
  return detected ?? 'unknown'
}

/**
 * Returns the declared type if it may be uploaded, or `UNDECLARED` if the bytes are to decide.
 * @throws Problem `media_type_unsupported`
 */
export function acceptDeclared(declared: string | undefined, allowedTypes: ReadonlySet<string>): string {
  const type = heicFor(declaredType(declared ?? ''), allowedTypes)
  return type === UNDECLARED ? type : acceptType(type, allowedTypes)
}

/** Systems declare HEIC by the extension: `.heif` as `image/heif`, bursts as sequences. What the bytes are decides later. */
function heicFor(type: string, allowedTypes: ReadonlySet<string>): string {
  return HEIF_TYPES.has(type) && !allowedTypes.has(type) ? HEIC : type
}

/**
 * Returns the type if files of it are accepted.
 * @throws Problem `media_type_unsupported`
 */
function acceptType(type: string, allowedTypes: ReadonlySet<string>): string {
  if (allowedTypes.has(type)) return type
  throw new Problem(
    'media_type_unsupported',
    `Files of type ${type} are not accepted; these are: ${[...allowedTypes].join(', ')}.`,
  )
}
