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

/** @throws Problem `request_invalid`, naming the keys of Upload-Metadata */
export function declarationOf(headers: Headers, metadata: Record<string, string | null>): TusDeclaration {
  const sent = headers.get('upload-metadata') ?? ''
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
