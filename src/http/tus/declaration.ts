/** Parses the Upload-Metadata of a tus upload. */
import { z } from '@hono/zod-openapi'
import { visibilities } from '../../media/object/object.ts'
import type { TusDeclaration } from '../../media/uploads/tus.ts'
import { HoldSeconds } from '../openapi/schemas/common.ts'
import { parse } from '../request/validation.ts'

// HEAD returns the metadata in a header, so it has to fit into one that clients accept.
export const METADATA_BYTES = 4096

/** The keys of the tus-js-client documentation and of Uppy; other keys are stored and returned. */
const Metadata = z.object({
  filename: z.string().max(1024).nullish(),
  name: z.string().max(1024).nullish(),
  filetype: z.string().max(127).nullish(),
  visibility: z.enum(visibilities).default('private'),
  holdSeconds: z.coerce.number({ error: 'expected a number' }).pipe(HoldSeconds).optional(),
})

/**
 * Upload-Metadata as tusd reads it, which `@tus/server` is stricter about: spaces around a comma are ignored (TUSKit sends
 * them), as are elements without a key and those whose value is no base64. Null without the header.
 */
export function metadataOf(headers: Headers): string | null {
  const sent = headers.get('upload-metadata')
  if (sent === null) return null
  return sent
    .split(',')
    .map((element) => element.trim())
    .filter((element) => /^[\x21-\x7e]+( ([a-z0-9+/]{4})*([a-z0-9+/]{2}==|[a-z0-9+/]{3}=)?)?$/i.test(element))
    .join(',')
}

/** @throws Problem `request_invalid`, naming the keys of Upload-Metadata */
export function declarationOf(headers: Headers, metadata: Record<string, string | null>): TusDeclaration {
  const sent = metadataOf(headers) ?? ''
  const { filename, name, filetype, visibility, holdSeconds } = parse(
    Metadata.refine(() => sent.length <= METADATA_BYTES, `expected at most ${METADATA_BYTES} bytes of Upload-Metadata`),
    metadata,
  )
  const length = headers.get('upload-length')
  return {
    filename: filename ?? name ?? '',
    fileType: filetype ?? undefined,
    size: length === null ? undefined : Number(length),
    visibility,
    holdSeconds,
    metadata: sent,
  }
}
