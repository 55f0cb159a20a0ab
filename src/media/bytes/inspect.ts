/** Detects the type and dimensions of a file from its bytes; what the client declares does not count. */

import { fileTypeFromBuffer } from 'file-type'
import mime from 'mime'
import { typeOfBrands } from '../../pictures/brands.ts'
import type { ProbeImage } from '../../pictures/image.ts'
import { outlineOfTiff } from '../../pictures/outline.ts'
import { createReading, type Rest } from '../../pictures/reading.ts'
import { isTiff } from '../../pictures/tiff.ts'
import { Problem } from '../../problem.ts'
import type { Dimensions } from '../object/object.ts'

export type Inspection = { mimeType: string; dimensions: Dimensions }
/** @param bytes all of the file, or its first `INSPECTED_BYTES` if there is `rest` */
export type Inspect = (bytes: Uint8Array, rest?: Rest) => Promise<Inspection>

// file-type is reliable from this many bytes on; more only cost time.
const TYPE_BYTES = 4100

/**
 * The returned function throws Problem `media_type_unsupported`, `image_unreadable` or `image_too_large`.
 */
export function createInspect(deps: { allowedTypes: ReadonlySet<string>; probeImage: ProbeImage }): Inspect {
  const { allowedTypes, probeImage } = deps
  return async function inspect(bytes, rest) {
    const mimeType = acceptType(await detectType(bytes, rest), allowedTypes)
    return { mimeType, dimensions: await probeImage(bytes, mimeType, rest) }
  }
}

/** What the bytes are; `unknown` when nothing recognizes them. */
async function detectType(bytes: Uint8Array, rest: Rest | undefined): Promise<string> {
  // The directory of a TIFF, which tells it from the raw formats of cameras, lies behind the pixels mostly.
  const outline = isTiff(bytes) ? await outlineOfTiff(createReading(bytes, rest)) : undefined
  const beginning = outline ?? bytes.subarray(0, TYPE_BYTES)
  const detected = typeOfBrands(beginning) ?? (await fileTypeFromBuffer(beginning))?.mime ?? 'unknown'
  // An animated PNG is a PNG (https://www.w3.org/TR/png-3/); browsers declare it so.
  return detected === 'image/apng' ? 'image/png' : detected
}

/**
 * Returns the type if files of it are accepted.
 * @throws Problem `media_type_unsupported`
 */
export function acceptType(type: string, allowedTypes: ReadonlySet<string>): string {
  if (allowedTypes.has(type)) return type
  throw new Problem(
    'media_type_unsupported',
    `Files of type ${type} are not accepted; these are: ${[...allowedTypes].join(', ')}.`,
  )
}

/** The usual extension with its dot, such as `.jpg` for `image/jpeg`; empty for a type that has none. */
export function extensionOf(mimeType: string): string {
  const extension = mime.getExtension(mimeType)
  return extension === null ? '' : `.${extension}`
}
