/**
 * Routes for Uppy (`@uppy/aws-s3`), whose uploader speaks S3 and requests a signed URL before each call. Bytes go to
 * the store; calls that begin, list or complete an upload go to the service, which answers in S3's XML and so knows of
 * them.
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html and related operations
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { Caller } from '../../auth/caller.ts'
import { idOf } from '../../media/object/object.ts'
import { notFound } from '../../problem.ts'
import { MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES, type StoredPart } from '../../storage/multipart.ts'
import { jsonOnly } from '../body/read.ts'
import type { Deps } from '../deps.ts'
import { DeclaredType, IdParam } from '../openapi/schemas/common.ts'
import { JSON_BODY, KNOWN, OUTAGES, problems } from '../openapi/schemas/problems.ts'
import { declaredFile, type FileLimits } from '../openapi/schemas/uploads.ts'
import { originOf, requireCaller } from '../request/context.ts'
import { invalidFields } from '../request/problem-response.ts'
import { absolute } from './present.ts'
import { xml } from './s3-xml.ts'

/** The arguments of Uppy's `signRequest`, and the page's description of the file. */
function signBody(limits: FileLimits) {
  const { filename, fileType, size, visibility, holdSeconds } = declaredFile(limits)
  return z
    .object({
      method: z.enum(['GET', 'PUT', 'POST', 'DELETE']),
      key: z.string().min(1).max(1024).openapi({ description: "Uppy's key for a new file, later the store's key." }),
      contentType: DeclaredType.optional(),
      uploadId: z.string().min(1).max(1024).optional(),
      partNumber: z.int().min(1).max(MAX_PARTS).optional(),
      partSize: z
        .int()
        .min(1)
        .max(MAX_PART_BYTES)
        .optional()
        .openapi({ description: "For the link to a part: the result of the page's `getChunkSize`, if it sets one." }),
      filename: filename.optional(),
      fileType: fileType.optional(),
      size: size.optional(),
      visibility,
      holdSeconds,
    })
    .openapi('SignRequest', {
      anyOf: uses(),
      example: { method: 'PUT', key: 'uppy-rocket', filename: 'rocket.jpg', fileType: 'image/jpeg', size: 112_525 },
    })
}
type SignBody = z.infer<ReturnType<typeof signBody>>

const Signed = z
  .object({
    url: z.url(),
    key: z.string().optional().openapi({ description: 'The key of a new object.' }),
    headers: z.record(z.string(), z.string()).optional().openapi({ description: 'Headers to send with the request.' }),
    id: z.uuid().openapi({ description: 'Id of the media object; Uppy itself ignores it.' }),
  })
  .openapi('SignedRequest')
type Signed = z.infer<typeof Signed>

const XML = { 'application/xml': { schema: z.string() } }

export function uppyRoutes(app: OpenAPIHono, deps: Deps): void {
  signing(app, deps)
  beginningAndCompleting(app, deps)
  listing(app, deps)
}

function signing(app: OpenAPIHono, { media, identify, publicBaseUrl, fileLimits }: Deps): void {
  const sign = createRoute({
    method: 'post',
    path: '/media/sign',
    summary: "Answer Uppy's signRequest",
    middleware: [requireCaller(identify), jsonOnly()] as const,
    request: { body: { required: true, content: { 'application/json': { schema: signBody(fileLimits) } } } },
    responses: {
      200: { description: 'The return value of signRequest.', content: { 'application/json': { schema: Signed } } },
      ...problems(
        ...JSON_BODY,
        'not_found',
        'quota_exceeded',
        'state_conflict',
        'file_too_large',
        'media_type_unsupported',
        ...OUTAGES,
      ),
    },
  })
  app.openapi(sign, async (c) => {
    const origin = originOf(c, publicBaseUrl)
    // The caller's token, for its next request to the service. Only the service may receive it, never the store, so the
    // page cannot simply send it with every request.
    const authorization = c.req.header('authorization')
    const own = { headers: authorization === undefined ? {} : { authorization } }
    return c.json(await signed(media, c.req.valid('json'), { caller: c.var.caller, origin, own }), 200)
  })
}

type Asked = { caller: Caller; origin: string; own: Pick<Signed, 'headers'> }

/** Where the request that Uppy describes has to go. */
async function signed(media: Deps['media'], body: SignBody, { caller, origin, own }: Asked): Promise<Signed> {
  const { method, key, uploadId, partNumber, partSize, size } = body
  const uploadUrl = (id: string) => `${origin}/media/${id}/upload`
  if (uploadId === undefined && method === 'PUT') {
    const link = await media.uploads.presign(caller, { ...described(body), size })
    return { id: link.id, key: link.key, url: new URL(link.uploadUrl, origin).href, headers: link.headers }
  }
  if (uploadId === undefined && method === 'POST') {
    const upload = await media.uploads.beginMultipart(caller, { ...described(body), size: required(size, 'size') })
    return { id: upload.id, key: upload.key, url: uploadUrl(upload.id), ...own }
  }
  if (uploadId === undefined) throw invalidFields([{ field: 'uploadId', message: `expected with ${method}` }])
  const number = method === 'PUT' ? required(partNumber, 'partNumber') : undefined
  const id = idOf(key)
  if (id === undefined) throw notFound()
  if (number === undefined) return { id, url: `${uploadUrl(id)}?uploadId=${encodeURIComponent(uploadId)}`, ...own }
  return { id, url: await media.uploads.linkPart(id, caller, { partNumber: number, uploadId, partSize }) }
}

function beginningAndCompleting(app: OpenAPIHono, { media, identify, publicBaseUrl }: Deps): void {
  const beginOrComplete = createRoute({
    method: 'post',
    path: '/media/{id}/upload',
    summary: "Begin a multipart upload, or complete it (with uploadId), in S3's XML",
    middleware: requireCaller(identify),
    request: { params: IdParam, query: z.object({ uploadId: z.string().optional() }) },
    responses: {
      200: { description: 'The XML response of S3.', content: XML },
      ...problems(
        ...KNOWN,
        'not_found',
        'state_conflict',
        'upload_incomplete',
        'type_mismatch',
        'size_mismatch',
        'file_too_large',
        'media_type_unsupported',
        'image_unreadable',
        'image_too_large',
        'overloaded',
        ...OUTAGES,
      ),
    },
  })
  app.openapi(beginOrComplete, async (c) => {
    const { id } = c.req.valid('param')
    if (c.req.valid('query').uploadId === undefined) {
      const { key, uploadId } = await media.uploads.findMultipart(id, c.var.caller)
      return xml(c, 'InitiateMultipartUploadResult', { Key: key, UploadId: uploadId })
    }
    const origin = originOf(c, publicBaseUrl)
    const row = await media.uploads.complete(id, c.var.caller)
    return xml(c, 'CompleteMultipartUploadResult', { Location: absolute(row.url, origin), Key: row.key })
  })
}

function listing(app: OpenAPIHono, { media, identify }: Deps): void {
  const list = createRoute({
    method: 'get',
    path: '/media/{id}/upload',
    summary: "List the uploaded parts of a multipart upload, in S3's XML",
    middleware: requireCaller(identify),
    request: { params: IdParam },
    responses: {
      200: { description: 'The XML response of S3.', content: XML },
      ...problems(...KNOWN, 'not_found', 'state_conflict', 'upload_incomplete', ...OUTAGES),
    },
  })
  app.openapi(list, async (c) => {
    const { key, uploadId, sizeBytes, parts } = await media.uploads.arrivedParts(c.req.valid('param').id, c.var.caller)
    const Part = (parts ?? everyPart(sizeBytes)).map(({ partNumber, etag, size }) => ({
      PartNumber: partNumber,
      ETag: etag,
      Size: size,
    }))
    return xml(c, 'ListPartsResult', { Key: key, UploadId: uploadId, IsTruncated: 'false', Part })
  })
}

/** Valid combinations of fields: a new single upload, a new multipart upload, then two for an upload that has begun. */
function uses() {
  const method = (...methods: string[]) => ({ method: { type: 'string' as const, enum: methods } })
  return [
    { properties: method('PUT'), not: { required: ['uploadId'] } },
    { properties: method('POST'), required: ['size'] },
    { properties: method('PUT'), required: ['uploadId', 'partNumber'] },
    { properties: method('GET', 'POST', 'DELETE'), required: ['uploadId'] },
  ]
}

/** The description of a new file. Uppy itself sends the type of small files; the page's `fileType` takes precedence. */
function described({ key, contentType, fileType = contentType, filename = key, visibility }: SignBody) {
  return {
    filename,
    fileType,
    visibility,
    sha256: undefined,
    partChecksums: undefined,
    idempotencyKey: undefined,
  }
}

function required<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw invalidFields([{ field, message: 'is required' }])
  return value
}

/**
 * Made-up parts of an object that is already complete, as many as it can have had: an Uppy that missed the completion
 * finds nothing left to send, and completes it again.
 */
function everyPart(size: number): StoredPart[] {
  const count = Math.min(MAX_PARTS, Math.max(1, Math.ceil(size / MIN_PART_BYTES)))
  return Array.from({ length: count }, (_, i) => ({ partNumber: i + 1, size: MIN_PART_BYTES, etag: '"stored"' }))
}
