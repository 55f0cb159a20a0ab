/** What a file is, told by its bytes; what the client says of it counts for nothing. */

import { fileTypeFromBuffer } from 'file-type'
import mime from 'mime'
import type { ProbeImage } from '../../pictures/image.ts'
import { INSPECTED_BYTES } from '../../pictures/limits.ts'
import { Problem } from '../../problem.ts'
import type { Dimensions } from '../object/object.ts'

export type Inspection = { mimeType: string; dimensions: Dimensions }
export type Inspect = (bytes: Uint8Array) => Promise<Inspection>

// file-type is right from these on; more only costs it time.
const TYPE_BYTES = 4100
// Most programs write the directory of a TIFF, which tells its size, behind the pixels.
const SIZE_AT_END = new Set(['image/tiff'])

/**
 * Inspects a whole file, or its first `INSPECTED_BYTES`.
 * The result throws Problem `media_type_unsupported`, `image_unreadable` or `image_too_large`.
 */
export function createInspect(deps: { allowedTypes: ReadonlySet<string>; probeImage: ProbeImage }): Inspect {
  const { allowedTypes, probeImage } = deps
  return async function inspect(bytes) {
    const detected = await fileTypeFromBuffer(bytes.subarray(0, TYPE_BYTES))
    const mimeType = acceptType(detected?.mime ?? 'unknown', allowedTypes)
    const looked = SIZE_AT_END.has(mimeType) ? bytes : bytes.subarray(0, INSPECTED_BYTES)
    return { mimeType, dimensions: await probeImage(looked, mimeType) }
  }
}

/** The type, if files of it are accepted; else throws Problem `media_type_unsupported`. */
export function acceptType(type: string, allowedTypes: ReadonlySet<string>): string {
  if (allowedTypes.has(type)) return type
  throw new Problem(
    'media_type_unsupported',
    `Files of type ${type} are not accepted; these are: ${[...allowedTypes].join(', ')}.`,
  )
}

/** `.jpg` for `image/jpeg`; the usual extension, with its dot, or none for a type that has none. */
export function extensionOf(mimeType: string): string {
  const extension = mime.getExtension(mimeType)
  return extension === null ? '' : `.${extension}`
}
