/** S3 multipart uploads: parts of a large file go straight to the store. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { Problem } from '../../problem.ts'
import { jsonOnly } from '../body/read.ts'
import type { Deps } from '../deps.ts'
import { IdParam } from '../openapi/schemas/common.ts'
import { JSON_BODY, KNOWN, OUTAGES, problems } from '../openapi/schemas/problems.ts'
import {
  declaredFile,
  type FileLimits,
  IdempotencyHeader,
  Multipart,
  PartLinks,
  Parts,
  PartsBody,
} from '../openapi/schemas/uploads.ts'
import { requireCaller } from '../request/context.ts'
import { invalidFields } from '../request/problem-response.ts'

function multipartBody(limits: FileLimits) {
  const { size, sha256, ...described } = declaredFile(limits)
  return z
    .strictObject({
      ...described,
      size: size.openapi({ description: 'Exact size of the whole file in bytes.' }),
      partChecksums: z
        .enum(['md5'])
        .optional()
        .openapi({ description: 'Announces an MD5 for each part. Some stores need it: without it they refuse.' }),
      sha256: sha256.openapi({ not: {}, description: 'Not supported: no store checks it for a multipart upload.' }),
    })
    .openapi('MultipartRequest', {
      example: { filename: 'panorama.jpg', fileType: 'image/jpeg', size: 60_000_000 },
    })
}

export function multipartUploadRoutes(app: OpenAPIHono, deps: Deps): void {
  beginRoute(app, deps)
  listRoute(app, deps)
  linkRoute(app, deps)
  abortRoute(app, deps)
}

function beginRoute(app: OpenAPIHono, { media, fileLimits, identify }: Deps): void {
  const begin = createRoute({
    method: 'post',
    path: '/media/multipart',
    summary: 'Begin a multipart upload straight to the store',
    middleware: [requireCaller(identify), jsonOnly()] as const,
    request: {
      headers: IdempotencyHeader,
      body: { required: true, content: { 'application/json': { schema: multipartBody(fileLimits) } } },
    },
    responses: {
      200: {
        description: 'Get links for the parts, PUT them, then call complete.',
        content: { 'application/json': { schema: Multipart } },
      },
      ...problems(
        ...JSON_BODY,
        'quota_exceeded',
        'idempotency_conflict',
        'state_conflict',
        'file_too_large',
        'media_type_unsupported',
        'checksum_unenforceable',
        ...OUTAGES,
      ),
    },
  })
  app.openapi(begin, async (c) => {
    const { sha256, partChecksums, ...body } = c.req.valid('json')
    const idempotencyKey = c.req.valid('header')['idempotency-key']
    const { expiresAt, ...upload } = await media.uploads.beginMultipart(c.var.caller, {
      ...body,
      sha256,
      partChecksums,
      idempotencyKey,
    })
    return c.json({ ...upload, expiresAt: expiresAt.toISOString() }, 200)
  })
}

function listRoute(app: OpenAPIHono, { media, identify }: Deps): void {
  const list = createRoute({
    method: 'get',
    path: '/media/{id}/parts',
    summary: 'List the uploaded parts',
    middleware: requireCaller(identify),
    request: { params: IdParam },
    responses: {
      200: { description: 'The uploaded parts, by part number.', content: { 'application/json': { schema: Parts } } },
      ...problems(...KNOWN, 'not_found', 'state_conflict', 'upload_incomplete', ...OUTAGES),
    },
  })
  app.openapi(list, async (c) => {
    const { parts } = await media.uploads.arrivedParts(c.req.valid('param').id, c.var.caller)
    if (parts === null) throw new Problem('state_conflict', 'The store has already assembled the parts: call complete.')
    return c.json({ parts }, 200)
  })
}

function linkRoute(app: OpenAPIHono, { media, identify }: Deps): void {
  const link = createRoute({
    method: 'post',
    path: '/media/{id}/parts',
    summary: 'Get upload links for parts',
    middleware: [requireCaller(identify), jsonOnly()] as const,
    request: { params: IdParam, body: { required: true, content: { 'application/json': { schema: PartsBody } } } },
    responses: {
      200: { description: 'A link for each part.', content: { 'application/json': { schema: PartLinks } } },
      ...problems(...JSON_BODY, 'not_found', 'state_conflict', ...OUTAGES),
    },
  })
  app.openapi(link, async (c) => {
    const { partNumbers, md5 = [] } = c.req.valid('json')
    if (md5.length > 0 && md5.length !== partNumbers.length)
      throw invalidFields([{ field: 'md5', message: 'expected one for each of partNumbers' }])
    const parts = partNumbers.map((partNumber, index) => ({ partNumber, md5: md5[index] }))
    const { links, expiresAt } = await media.uploads.linkParts(c.req.valid('param').id, c.var.caller, parts)
    return c.json({ urls: links, expiresAt: expiresAt.toISOString() }, 200)
  })
}

function abortRoute(app: OpenAPIHono, { media, identify }: Deps): void {
  const abort = createRoute({
    method: 'delete',
    path: '/media/{id}/upload',
    summary: 'Abort a pending upload',
    middleware: requireCaller(identify),
    request: { params: IdParam },
    responses: {
      204: { description: 'Aborted; the service removes the uploaded bytes.' },
      ...problems(...KNOWN, 'not_found', 'state_conflict', 'database_unavailable'),
    },
  })
  app.openapi(abort, async (c) => {
    await media.uploads.abort(c.req.valid('param').id, c.var.caller)
    return c.body(null, 204)
  })
}
