/** The OpenAPI description of tus: only the paths and the service's own rules; the specification has the protocol. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { TUS_RESUMABLE } from '@tus/server'
import { KNOWN, problems } from '../openapi/schemas/problems.ts'
import type { FileLimits } from '../openapi/schemas/uploads.ts'
import { METADATA_BYTES } from './declaration.ts'
import { TUS_PATH } from './deps.ts'

type Registry = OpenAPIHono['openAPIRegistry']

export function describe({ openAPIRegistry }: OpenAPIHono, limits: FileLimits): void {
  describeCreation(openAPIRegistry, limits)
  describeOffset(openAPIRegistry)
  describeBytes(openAPIRegistry, limits)
  describeTermination(openAPIRegistry)
}

function describeCreation(registry: Registry, { maxObjectBytes }: FileLimits): void {
  registry.registerPath({
    ...OWN,
    method: 'post',
    path: TUS_PATH,
    parameters: [
      PROTOCOL,
      header('Upload-Length', { type: 'integer', minimum: 1, maximum: maxObjectBytes, example: 112_525 }),
      {
        ...header('Upload-Metadata', {
          type: 'string',
          maxLength: METADATA_BYTES,
          description: 'Comma-separated keys with base64 values; what is none is ignored.',
          // Decoded: image/jpeg, rocket.jpg
          example: 'filetype aW1hZ2UvanBlZw==,filename cm9ja2V0LmpwZw==',
        }),
        required: false,
      },
    ],
    summary: 'Begin a tus upload',
    description:
      'Upload-Metadata: `filetype` (an accepted media type; without it, the bytes decide), `filename`, `visibility`, `holdSeconds`.',
    responses: {
      201: {
        description: 'Created; send the bytes to `Location`, whose last segment is the id of the media object.',
        headers: { Location: { required: true, schema: { type: 'string' } } },
      },
      ...problems(
        ...FAILURES,
        'file_empty',
        'state_conflict',
        'quota_exceeded',
        'file_too_large',
        'media_type_unsupported',
      ),
    },
  })
}

function describeOffset(registry: Registry): void {
  registry.registerPath({
    ...OF_UPLOAD,
    method: 'head',
    parameters: [ID, PROTOCOL],
    summary: 'Get the offset of a tus upload',
    responses: {
      200: { description: '`Upload-Offset`, and `Media-Location` (the media object) when the upload is complete.' },
      ...problems(...FAILURES_OF_UPLOAD),
    },
  })
}

function describeBytes(registry: Registry, { maxObjectBytes }: FileLimits): void {
  const offset = header('Upload-Offset', { type: 'integer', minimum: 0, maximum: maxObjectBytes, example: 0 })
  registry.registerPath({
    ...OF_UPLOAD,
    method: 'patch',
    parameters: [ID, PROTOCOL, offset],
    request: { body: { required: true, content: { 'application/offset+octet-stream': { schema: BYTES } } } },
    summary: 'Send bytes of a tus upload',
    description: 'The last bytes complete the upload; it is then checked, and may be refused, like a direct upload.',
    responses: {
      204: { description: '`Upload-Offset`, and `Media-Location` (the media object) when the upload is complete.' },
      ...problems(
        ...FAILURES_OF_UPLOAD,
        'content_type_unsupported',
        'state_conflict',
        'file_too_large',
        'media_type_unsupported',
        'image_unreadable',
        'image_too_large',
        'overloaded',
        'type_mismatch',
        'size_mismatch',
      ),
    },
  })
}

function describeTermination(registry: Registry): void {
  registry.registerPath({
    ...OF_UPLOAD,
    method: 'delete',
    parameters: [ID, PROTOCOL],
    summary: 'Abort a tus upload',
    responses: {
      204: { description: 'Aborted; the service removes the uploaded bytes.' },
      ...problems(...FAILURES_OF_UPLOAD, 'state_conflict'),
    },
  })
}

type HeaderSchema = {
  type: 'string' | 'integer'
  enum?: string[]
  pattern?: string
  minimum?: number
  maximum?: number
  maxLength?: number
  description?: string
  example?: unknown
}

function header(name: string, schema: HeaderSchema) {
  return { name, in: 'header' as const, required: true, schema }
}

const FAILURES = [...KNOWN, 'precondition_failed', 'storage_unavailable', 'database_unavailable'] as const
const FAILURES_OF_UPLOAD = [...FAILURES, 'not_found', 'upload_locked'] as const
const TUS = { description: 'tus 1.0', url: 'https://tus.io/protocols/resumable-upload' }
const OWN = { externalDocs: TUS, tags: ['tus'] }
const OF_UPLOAD = { ...OWN, path: `${TUS_PATH}/{id}` }
const PROTOCOL = header('Tus-Resumable', { type: 'string', enum: [TUS_RESUMABLE] })
const ID = { name: 'id', in: 'path' as const, required: true, schema: { type: 'string' as const, format: 'uuid' } }
const BYTES = { type: 'string' as const, format: 'binary' }
