/** Routes for resumable uploads by tus 1.0. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { TUS_RESUMABLE } from '@tus/server'
import type { Context, MiddlewareHandler } from 'hono'
import { validate as isUuid } from 'uuid'
import { notFound, type Problem } from '../../problem.ts'
import type { Deps } from '../deps.ts'
import { KNOWN, problems } from '../openapi/schemas/problems.ts'
import type { FileLimits } from '../openapi/schemas/uploads.ts'
import { originOf, type RequiresCaller, requireCaller } from '../request/context.ts'
import { HttpProblem } from '../request/problem-response.ts'
import { METADATA_BYTES } from './declaration.ts'
import { TUS_PATH, type Tus } from './server.ts'

/** Response headers that pages of other origins may read. */
export const TUS_EXPOSED_HEADERS = [
  'Tus-Resumable',
  'Tus-Version',
  'Tus-Extension',
  'Tus-Max-Size',
  'Upload-Offset',
  'Upload-Length',
  'Upload-Defer-Length',
  'Upload-Metadata',
  'Upload-Expires',
  'Media-Location',
]

/** Adds the server's capabilities to every OPTIONS response, also to one that the CORS middleware makes. */
export function tusCapabilities(tus: Tus): MiddlewareHandler {
  return async function tusCapabilities(c, next) {
    if (c.req.method === 'OPTIONS') for (const [name, value] of await tus.capabilities()) c.header(name, value)
    await next()
  }
}

export function tusRoutes(app: OpenAPIHono, { identify, publicBaseUrl, fileLimits, tus }: Deps & { tus: Tus }): void {
  const paths = [TUS_PATH, `${TUS_PATH}/:id`]
  const known = requireCaller(identify)

  async function handle(c: Context<RequiresCaller>): Promise<Response> {
    const id = c.req.param('id')
    if (id !== undefined && !isUuid(id)) throw notFound()
    const request = overridden(c.req.raw)
    if (request.method === 'GET' || (request.method === 'POST') !== (id === undefined))
      throw misused(request.method, id)
    return tus.handle({ request, id: id?.toLowerCase(), caller: c.var.caller, origin: originOf(c, publicBaseUrl) })
  }

  for (const path of paths) {
    // Set on refusals as well (tus 1.0, "Tus-Resumable").
    app.use(path, async function tusResumable(c, next) {
      c.header('tus-resumable', TUS_RESUMABLE)
      await next()
    })
    app.options(path, (c) => c.body(null, 204))
  }
  app.post(TUS_PATH, known, handle)
  // Hono routes HEAD as GET; POST may carry the method in a header (tus 1.0, "X-HTTP-Method-Override").
  app.on(['GET', 'POST', 'PATCH', 'DELETE'], `${TUS_PATH}/:id`, known, handle)
  app.get(TUS_PATH, (c) => {
    throw misused(c.req.method, undefined)
  })
  describe(app, fileLimits)
}

function overridden(request: Request): Request {
  const method = request.headers.get('x-http-method-override')?.toUpperCase()
  if (request.method !== 'POST' || method === undefined || !['HEAD', 'PATCH', 'DELETE'].includes(method)) return request
  return new Request(request, { method })
}

function misused(method: string, id: string | undefined): Problem {
  const allow = id === undefined ? 'OPTIONS, POST' : 'DELETE, HEAD, OPTIONS, PATCH'
  return new HttpProblem('method_not_allowed', `${method} is not allowed here; ${allow} is.`, { headers: { allow } })
}

/** Documents only the paths and the service's own rules; the tus specification describes the protocol. */
function describe(app: OpenAPIHono, { allowedTypes, maxObjectBytes }: FileLimits): void {
  const tus = { description: 'tus 1.0', url: 'https://tus.io/protocols/resumable-upload' }
  const failures = [...KNOWN, 'precondition_failed', 'storage_unavailable', 'database_unavailable'] as const
  const ofUpload = [...failures, 'not_found', 'upload_locked'] as const
  const protocol = header('Tus-Resumable', { type: 'string', enum: [TUS_RESUMABLE] })
  const offset = header('Upload-Offset', { type: 'integer', minimum: 0, maximum: maxObjectBytes, example: 0 })
  const id = { name: 'id', in: 'path' as const, required: true, schema: { type: 'string' as const, format: 'uuid' } }
  const parameters = [id, protocol]
  const own = { externalDocs: tus, tags: ['tus'] }
  const registry = app.openAPIRegistry
  registry.registerPath({
    ...own,
    method: 'post',
    path: TUS_PATH,
    parameters: [
      protocol,
      header('Upload-Length', { type: 'integer', minimum: 1, maximum: maxObjectBytes, example: 112_525 }),
      header('Upload-Metadata', {
        type: 'string',
        pattern: metadataOf(allowedTypes),
        maxLength: METADATA_BYTES,
        description: 'Comma-separated keys with base64 values.',
        // Decoded: image/jpeg, rocket.jpg
        example: 'filetype aW1hZ2UvanBlZw==,filename cm9ja2V0LmpwZw==',
      }),
    ],
    summary: 'Begin a tus upload',
    description: 'Upload-Metadata: `filetype` (one of the accepted media types), `filename`, `visibility`.',
    responses: {
      201: {
        description: 'Created; send the bytes to `Location`, whose last segment is the id of the media object.',
        headers: { Location: { required: true, schema: { type: 'string' } } },
      },
      ...problems(...failures, 'file_empty', 'quota_exceeded', 'file_too_large', 'media_type_unsupported'),
    },
  })
  registry.registerPath({
    ...own,
    method: 'head',
    path: `${TUS_PATH}/{id}`,
    parameters,
    summary: 'Get the offset of a tus upload',
    responses: {
      200: { description: '`Upload-Offset`, and `Media-Location` (the media object) when the upload is complete.' },
      ...problems(...ofUpload),
    },
  })
  registry.registerPath({
    ...own,
    method: 'patch',
    path: `${TUS_PATH}/{id}`,
    parameters: [...parameters, offset],
    request: { body: { required: true, content: { 'application/offset+octet-stream': { schema: BYTES } } } },
    summary: 'Send bytes of a tus upload',
    description: 'The last bytes complete the upload; it is then checked, and may be refused, like a direct upload.',
    responses: {
      204: { description: '`Upload-Offset`, and `Media-Location` (the media object) when the upload is complete.' },
      ...problems(
        ...ofUpload,
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
  registry.registerPath({
    ...own,
    method: 'delete',
    path: `${TUS_PATH}/{id}`,
    parameters,
    summary: 'Abort a tus upload',
    responses: {
      204: { description: 'Aborted; the service removes the uploaded bytes.' },
      ...problems(...ofUpload, 'state_conflict'),
    },
  })
}

const BYTES = { type: 'string' as const, format: 'binary' }

/**
 * The pattern of Upload-Metadata (tus 1.0): comma-separated keys, each with an optional base64 value after a space; one
 * of them is an accepted type.
 */
function metadataOf(allowedTypes: ReadonlySet<string>): string {
  const types = [...allowedTypes].map((type) => btoa(type).replaceAll('+', '\\+'))
  return `^(${PAIR},)*filetype (${types.join('|')})(,${PAIR})*$`
}

const PAIR = '[!-+\\--~]+( ([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)?'

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
