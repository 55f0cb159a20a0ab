/** Direct and presigned uploads, and their completion. */
import { createRoute, type OpenAPIHono } from '@hono/zod-openapi'
import { contentPath } from '../../media/public-copies/access.ts'
import { withForm } from '../body/form.ts'
import { jsonOnly } from '../body/read.ts'
import type { Deps } from '../deps.ts'
import { IdParam } from '../openapi/schemas/common.ts'
import { MediaObject } from '../openapi/schemas/objects.ts'
import { JSON_BODY, KNOWN, OUTAGES, problems } from '../openapi/schemas/problems.ts'
import { IdempotencyHeader, Presigned, presignBody, UploadFields, uploadBody } from '../openapi/schemas/uploads.ts'
import { originOf, requireCaller } from '../request/context.ts'
import { parse } from '../request/validation.ts'
import { absolute, present } from './present.ts'

const REFUSALS = [
  'file_empty',
  'file_too_large',
  'media_type_unsupported',
  'image_unreadable',
  'image_too_large',
] as const
const MULTIPART = [
  ...KNOWN,
  'multipart_malformed',
  'file_missing',
  'too_many_parts',
  'content_type_unsupported',
  'request_timeout',
  'overloaded',
] as const

const IDEMPOTENCY = ['idempotency_conflict', 'state_conflict'] as const

export function uploadRoutes(app: OpenAPIHono, deps: Deps): void {
  uploadRoute(app, deps)
  presignRoute(app, deps)
  completeRoute(app, deps)
}

function uploadRoute(app: OpenAPIHono, { media, publicBaseUrl, maxUploadBytes, uploadMemory, identify }: Deps): void {
  const upload = createRoute({
    method: 'post',
    path: '/media/upload',
    summary: 'Upload a file through the service',
    middleware: requireCaller(identify),
    request: {
      headers: IdempotencyHeader,
      body: { required: true, content: { 'multipart/form-data': uploadBody } },
    },
    responses: {
      201: {
        description: 'Stored; `Location` is the media object.',
        headers: { Location: { schema: { type: 'string' } } },
        content: { 'application/json': { schema: MediaObject } },
      },
      ...problems(...MULTIPART, 'body_too_large', 'quota_exceeded', ...IDEMPOTENCY, ...REFUSALS, ...OUTAGES),
    },
  })
  app.openapi(upload, async (c) => {
    const { caller } = c.var
    const origin = originOf(c, publicBaseUrl)
    const idempotencyKey = c.req.valid('header')['idempotency-key']
    const names = Object.keys(UploadFields.shape)
    const limits = { fileLimit: maxUploadBytes, memory: uploadMemory, caller: caller.userId, names }
    const row = await withForm(c.req.raw, limits, ({ file, fields }) => {
      return media.uploads.direct(caller, { ...file, ...parse(UploadFields, fields), idempotencyKey })
    })
    return c.json(present(row, origin), 201, { Location: `${origin}/media/${row.id}` })
  })
}

function presignRoute(app: OpenAPIHono, { media, publicBaseUrl, fileLimits, identify }: Deps): void {
  const presign = createRoute({
    method: 'post',
    path: '/media/presign',
    summary: 'Get a link to upload a file straight to the store',
    middleware: [requireCaller(identify), jsonOnly()] as const,
    request: {
      headers: IdempotencyHeader,
      body: { required: true, content: { 'application/json': { schema: presignBody(fileLimits) } } },
    },
    responses: {
      200: {
        description: 'PUT the bytes to `uploadUrl` with `headers`, then call complete.',
        content: { 'application/json': { schema: Presigned } },
      },
      ...problems(
        ...JSON_BODY,
        'quota_exceeded',
        ...IDEMPOTENCY,
        'checksum_unenforceable',
        'file_too_large',
        'media_type_unsupported',
        ...OUTAGES,
      ),
    },
  })
  app.openapi(presign, async (c) => {
    const { size, sha256, ...body } = c.req.valid('json')
    const idempotencyKey = c.req.valid('header')['idempotency-key']
    const link = await media.uploads.presign(c.var.caller, { ...body, size, sha256, idempotencyKey })
    const origin = originOf(c, publicBaseUrl)
    return c.json(
      {
        id: link.id,
        key: link.key,
        uploadUrl: absolute(link.uploadUrl, origin),
        method: 'PUT' as const,
        headers: link.headers,
        publicUrl: origin + contentPath(link.id),
        expiresAt: link.expiresAt.toISOString(),
      },
      200,
    )
  })
}

function completeRoute(app: OpenAPIHono, { media, publicBaseUrl, identify }: Deps): void {
  const complete = createRoute({
    method: 'post',
    path: '/media/{id}/complete',
    summary: 'Complete an upload',
    middleware: requireCaller(identify),
    request: { params: IdParam },
    responses: {
      200: { description: 'The media object.', content: { 'application/json': { schema: MediaObject } } },
      ...problems(
        ...KNOWN,
        'not_found',
        'upload_incomplete',
        'type_mismatch',
        'size_mismatch',
        ...REFUSALS,
        'overloaded',
        ...OUTAGES,
      ),
    },
  })
  app.openapi(complete, async (c) => {
    const origin = originOf(c, publicBaseUrl)
    const row = await media.uploads.complete(c.req.valid('param').id, c.var.caller)
    return c.json(present(row, origin), 200)
  })
}
