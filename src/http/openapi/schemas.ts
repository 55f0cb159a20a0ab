/** Request and response schemas, as the OpenAPI document shows them. */
import { z } from '@hono/zod-openapi'
import { visibilities } from '../../media/object/object.ts'
import { fits, formats } from '../../media/object/rendition.ts'
import { type ProblemCode, problemCodes } from '../../problem.ts'
import { MAX_PARTS } from '../../storage/multipart.ts'
import { statusOf } from '../request/problem-response.ts'

const Id = z.uuid().openapi({ example: '019ab1c2-7c5e-7d52-b54b-3f7c1f0e6a11' })
// UUID (RFC 9562), as a pattern for comma-separated lists.
const HEX = '[0-9a-fA-F]'
const UUID = `${HEX}{8}-${HEX}{4}-[1-8]${HEX}{3}-[89abAB]${HEX}{3}-${HEX}{12}`
const Visibility = z.enum(visibilities)
const Time = z.iso.datetime().openapi({ example: '2026-11-22T12:00:00.000Z' })
// Larger than any screen.
const MOST_PIXELS = 9999
const FileName = z.string().min(1).max(1024).openapi({ example: 'holiday.jpg' })
const MediaType = z.string().max(127).openapi({ format: 'media-range', example: 'image/jpeg' })

export const IdParam = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) })

export const IdempotencyHeader = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'expected 1 to 255 visible ASCII characters')
    .optional()
    .openapi({
      param: { name: 'idempotency-key', in: 'header' },
      description: 'A retry with the same key and content returns the first response.',
    }),
})

export const MediaObject = z
  .object({
    id: Id,
    userId: z.uuid(),
    originalName: z.string(),
    mimeType: MediaType,
    sizeBytes: z.int().min(1),
    key: z.string().openapi({ description: 'Key of the bytes in the store.' }),
    url: z.url().openapi({ description: 'Stable address of the bytes; redirects to a short-lived link.' }),
    metadata: z
      .object({
        width: z.int().nullable(),
        height: z.int().nullable(),
        thumbHash: z.base64().nullable().openapi({ description: 'Placeholder: a ThumbHash in base64.' }),
        dominantColor: z
          .string()
          .regex(/^#[0-9a-f]{6}$/)
          .nullable()
          .openapi({ description: 'Dominant colour of the image.', example: '#4a6b8c' }),
      })
      .openapi({
        description:
          'Displayed size in pixels: orientation applied, one frame of an animation. Null for non-images; ' +
          'thumbHash and dominantColor are also null until they are computed after the upload.',
      }),
    visibility: Visibility,
    status: z.enum(['active', 'deleted']),
    createdAt: Time,
  })
  .openapi('MediaObject')

export const SignedMediaObject = MediaObject.extend({
  signedUrl: z.url().openapi({ description: 'Short-lived link to the bytes; needs no credentials.' }),
  signedUrlExpiresAt: Time,
  renditions: z
    .array(z.object({ width: z.int().min(1), height: z.int().min(1), url: z.url() }))
    .optional()
    .openapi({
      description:
        'Links for the requested widths, smallest first, for use in `<img srcset>`; they expire like signedUrl.',
    }),
}).openapi('SignedMediaObject')

export const MediaPage = z
  .object({
    items: z.array(SignedMediaObject),
    nextCursor: Id.nullable().openapi({ description: '`cursor` of the next page; null on the last page.' }),
  })
  .openapi('MediaPage')

/** The form fields of `POST /media/upload`, apart from the file. */
export const UploadFields = z.strictObject({ visibility: Visibility.default('private') })

/** Documentation only: the handler reads the body into reserved memory, so no validator may parse it first. */
export const uploadBody = {
  schema: {
    type: 'object' as const,
    required: ['file'],
    additionalProperties: false,
    properties: {
      file: {
        type: 'string' as const,
        format: 'binary',
        minLength: 1,
        description: 'The file; the service detects its type from the bytes.',
      },
      visibility: { type: 'string' as const, enum: [...visibilities], default: 'private' },
    },
  },
  encoding: { file: { contentType: 'image/png, image/jpeg, application/octet-stream' } },
}

/** The configured limits on files. */
export type FileLimits = { allowedTypes: ReadonlySet<string>; maxObjectBytes: number }

/**
 * The file properties that a client declares. The limits here are documentation only: the domain enforces them, with
 * more specific problems.
 */
export function declaredFile({ allowedTypes, maxObjectBytes }: FileLimits) {
  return {
    filename: FileName,
    fileType: MediaType.openapi({ enum: [...allowedTypes] }),
    size: z.int().min(1).max(Number.MAX_SAFE_INTEGER).openapi({ maximum: maxObjectBytes }),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/i, 'expected 64 hexadecimal digits')
      .transform((hex) => hex.toLowerCase())
      .optional(),
    visibility: Visibility.default('private'),
  }
}

export function presignBody(limits: FileLimits) {
  const { size, sha256, ...described } = declaredFile(limits)
  return z
    .strictObject({
      ...described,
      size: size.optional().openapi({ description: 'Exact size in bytes, which the link then enforces.' }),
      sha256: sha256.openapi({ description: 'SHA-256 of the bytes in hexadecimal, which the link then enforces.' }),
    })
    .openapi('PresignRequest', { example: { filename: 'rocket.jpg', fileType: 'image/jpeg', size: 112_525 } })
}

export const Presigned = z
  .object({
    id: Id,
    key: z.string(),
    uploadUrl: z.url().openapi({ description: 'PUT the bytes to this URL once, then call complete.' }),
    method: z.literal('PUT'),
    headers: z.record(z.string(), z.string()).openapi({ description: 'Headers to send unchanged with the bytes.' }),
    publicUrl: z.url().openapi({ description: 'The future `url` of the media object.' }),
    expiresAt: Time,
  })
  .openapi('Presigned')

// Per request.
const MAX_LINKS = 100

export const Multipart = z
  .object({
    id: z.uuid(),
    key: z.string(),
    uploadId: z.string().openapi({ description: "The store's id of the multipart upload." }),
    partSize: z.int().openapi({ description: 'Size of each part in bytes; the last part is the remainder.' }),
    expiresAt: z.iso.datetime().openapi({ description: 'Deadline for completing the upload.' }),
  })
  .openapi('Multipart')

const PartNumber = z.int().min(1).max(MAX_PARTS)

export const Parts = z
  .object({ parts: z.array(z.object({ partNumber: PartNumber, size: z.int(), etag: z.string() })) })
  .openapi('Parts')

export const PartsBody = z
  .strictObject({ partNumbers: z.array(PartNumber).min(1).max(MAX_LINKS) })
  .openapi('PartsRequest', { example: { partNumbers: [1, 2] } })

export const PartLinks = z
  .object({
    urls: z.array(
      z.object({
        partNumber: PartNumber,
        url: z.url().openapi({ description: 'PUT the bytes of the part to this URL.' }),
      }),
    ),
    expiresAt: z.iso.datetime(),
  })
  .openapi('PartLinks')

export const Usage = z
  .object({
    bytes: z.int().min(0),
    objects: z.int().min(0),
    quotaBytes: z.int().nullable(),
    quotaObjects: z.int().nullable(),
  })
  .openapi('Usage', { description: 'Stored and reserved, soft-deleted objects included; a null quota means no limit.' })

export const PatchBody = z
  .strictObject({ originalName: FileName.optional(), visibility: Visibility.optional() })
  .refine((body) => Object.keys(body).length > 0, 'expected originalName or visibility')
  .openapi('MediaChange', { minProperties: 1, example: { originalName: 'holiday.jpg', visibility: 'public' } })

const widths = z
  .string()
  .transform((text) => text.split(',').map(Number))
  .pipe(z.array(z.int().min(1).max(MOST_PIXELS)).min(1).max(16))
  .optional()
  .openapi({
    param: { name: 'renditions', in: 'query' },
    type: 'string',
    pattern: '^[1-9][0-9]{0,3}(,[1-9][0-9]{0,3}){0,15}$',
    example: '320,640,1280',
    description: 'Comma-separated widths in pixels of renditions to link to; rounded up to RENDITION_SIZES.',
  })

export const GetQuery = z.strictObject({ renditions: widths })

export const ListQuery = z
  .strictObject({
    limit: z.coerce
      .number()
      .int()
      .min(1)
      .max(100)
      .default(20)
      .openapi({ param: { name: 'limit', in: 'query' } }),
    // Has no example, because the page at /docs would send it.
    cursor: z
      .uuid()
      .optional()
      .openapi({ param: { name: 'cursor', in: 'query' }, description: '`nextCursor` of the previous page.' }),
    type: z
      .string()
      .regex(/^[a-z]+\/([a-z0-9.+-]+|\*)$/, 'expected a media type, or a range such as image/*')
      .max(127)
      .optional()
      .openapi({ param: { name: 'type', in: 'query' }, format: 'media-range', example: 'image/*' }),
    status: z
      .enum(['active', 'deleted'])
      .default('active')
      .openapi({ param: { name: 'status', in: 'query' } }),
    ids: z
      .string()
      .transform((ids) => ids.split(','))
      .pipe(z.array(z.uuid()).min(1).max(100))
      .optional()
      .openapi({
        param: { name: 'ids', in: 'query' },
        type: 'string',
        pattern: `^${UUID}(,${UUID}){0,99}$`,
        description: 'Up to 100 ids, comma-separated, combinable with no parameter but renditions.',
      }),
    renditions: widths,
  })
  .openapi('ListQuery')

/** `security` of routes that serve public objects to anonymous callers as well. */
export const ANYONE = [{ bearer: [] }, { gateway: [] }, {}]

const inQuery = (name: string, description: string) => ({ param: { name, in: 'query' as const }, description })
const LINKED = 'For objects of other owners a signed link is required; without one the response is 403 `link_required`.'
const pixels = z.coerce.number().int().min(1).max(MOST_PIXELS).optional()

/** Without any of `w`, `h`, `fit`, `format` and `q`, the original is served. */
export const ContentQuery = z.strictObject({
  download: z
    .enum(['', '1', 'true'])
    .optional()
    .openapi(inQuery('download', 'Serve as an attachment under the original name.')),
  w: pixels.openapi(
    inQuery('w', 'Width of the rendition in pixels, rounded up to RENDITION_SIZES; images are never enlarged.'),
  ),
  h: pixels.openapi(inQuery('h', `Height of the rendition, rounded likewise. ${LINKED}`)),
  fit: z
    .enum(fits)
    .optional()
    .openapi(
      inQuery(
        'fit',
        `\`inside\` (the default) keeps the whole image, \`cover\` crops to fill width and height. ${LINKED}`,
      ),
    ),
  format: z
    .enum(['auto', ...formats])
    .optional()
    .openapi(
      inQuery('format', `\`auto\` (the default) picks the smallest format that Accept lists. Other values: ${LINKED}`),
    ),
  q: z.coerce
    .number()
    .int()
    .min(1)
    .max(100)
    .optional()
    .openapi(inQuery('q', `Quality, rounded up to one of a few steps. ${LINKED}`)),
  expires: z.coerce.number().int().min(0).optional().openapi(inQuery('expires', 'Set in links from `renditions`.')),
  signature: z.string().max(64).optional().openapi(inQuery('signature', 'Set in links from `renditions`.')),
})

const ProblemBody = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(problemCodes),
    errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
    id: z.uuid().optional().openapi({ description: 'Id of the media object that the Idempotency-Key belongs to.' }),
  })
  .openapi('Problem')

type ProblemAnswer = {
  description: string
  content: { 'application/problem+json': { schema: typeof ProblemBody } }
}

/** Problems of any route that takes ids, queries or fields from an authenticated caller. */
export const KNOWN = ['request_invalid', 'token_missing', 'token_invalid', 'rate_limited', 'auth_unavailable'] as const
/** The same for a route with a JSON body. */
export const JSON_BODY = [...KNOWN, 'body_too_large', 'content_type_unsupported'] as const

/** Problems of a route while the database or the store is down. */
export const OUTAGES = ['storage_unavailable', 'database_unavailable'] as const

/** The `responses` of a route for these problems and `internal`, grouped by status. */
export function problems(...codes: ProblemCode[]): Record<number, ProblemAnswer> {
  const answers: Record<number, ProblemAnswer> = {}
  for (const code of [...codes, 'internal'] as const) {
    const status = statusOf(code)
    const before = answers[status]
    answers[status] = {
      description: before === undefined ? `\`${code}\`` : `${before.description}, \`${code}\``,
      content: { 'application/problem+json': { schema: ProblemBody } },
    }
  }
  return answers
}
