/** What goes in and out over HTTP, as the OpenAPI document shows it. */
import { z } from '@hono/zod-openapi'
import { visibilities } from '../../media/object/object.ts'
import { fits, formats } from '../../media/object/rendition.ts'
import { type ProblemCode, problemCodes } from '../../problem.ts'
import { MAX_PARTS } from '../../storage/multipart.ts'
import { statusOf } from '../request/problem-response.ts'

const Id = z.uuid().openapi({ example: '019ab1c2-7c5e-7d52-b54b-3f7c1f0e6a11' })
// RFC 9562, for what a list of them has to look like.
const HEX = '[0-9a-fA-F]'
const UUID = `${HEX}{8}-${HEX}{4}-[1-8]${HEX}{3}-[89abAB]${HEX}{3}-${HEX}{12}`
const Visibility = z.enum(visibilities)
const Time = z.iso.datetime().openapi({ example: '2026-11-22T12:00:00.000Z' })
// More than any screen has.
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
      description: 'Makes a retry with the same key and content return the first answer.',
    }),
})

export const MediaObject = z
  .object({
    id: Id,
    userId: z.uuid(),
    originalName: z.string(),
    mimeType: MediaType,
    sizeBytes: z.int().min(1),
    key: z.string().openapi({ description: 'Where the store keeps the bytes.' }),
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
          .openapi({ description: 'The colour that most of the picture has.', example: '#4a6b8c' }),
      })
      .openapi({
        description:
          'Pixels as a person sees them: orientation applied, one frame of an animation. Null for no picture; ' +
          'thumbHash and dominantColor also while they are not made, which is after the upload.',
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
    .openapi({ description: 'As asked for, smallest first; each link is good for an `<img srcset>`, like signedUrl.' }),
}).openapi('SignedMediaObject')

export const MediaPage = z
  .object({
    items: z.array(SignedMediaObject),
    nextCursor: Id.nullable().openapi({ description: '`cursor` of the next page; null at the end.' }),
  })
  .openapi('MediaPage')

/** The fields of `POST /media/upload` beside the file. */
export const UploadFields = z.strictObject({ visibility: Visibility.default('private') })

/** For the document only: the handler reads the body into memory that it has reserved, so nothing may parse it before. */
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
        description: 'The file; its bytes decide its type.',
      },
      visibility: { type: 'string' as const, enum: [...visibilities], default: 'private' },
    },
  },
  encoding: { file: { contentType: 'image/png, image/jpeg, application/octet-stream' } },
}

/** What the settings allow of a file. */
export type FileLimits = { allowedTypes: ReadonlySet<string>; maxObjectBytes: number }

/**
 * What a client may declare of a file. The limits are for the document: they are kept by what all uploads go through,
 * which has answers of its own for what is beyond them.
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
      size: size.optional().openapi({ description: 'Exact size in bytes; the link then takes no other.' }),
      sha256: sha256.openapi({ description: 'SHA-256 of the bytes in hexadecimal; the link then takes no others.' }),
    })
    .openapi('PresignRequest', { example: { filename: 'rocket.jpg', fileType: 'image/jpeg', size: 112_525 } })
}

export const Presigned = z
  .object({
    id: Id,
    key: z.string(),
    uploadUrl: z.url().openapi({ description: 'Send the bytes here, once; then call complete.' }),
    method: z.literal('PUT'),
    headers: z.record(z.string(), z.string()).openapi({ description: 'To be sent with the bytes, as they are.' }),
    publicUrl: z.url().openapi({ description: 'The `url` that the media object will have.' }),
    expiresAt: Time,
  })
  .openapi('Presigned')

// In one request.
const MAX_LINKS = 100

export const Multipart = z
  .object({
    id: z.uuid(),
    key: z.string(),
    uploadId: z.string().openapi({ description: "The store's own id of the upload." }),
    partSize: z.int().openapi({ description: 'Bytes of every part; the last one has what is left.' }),
    expiresAt: z.iso.datetime().openapi({ description: 'Until when it can be completed.' }),
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
      z.object({ partNumber: PartNumber, url: z.url().openapi({ description: 'PUT the bytes of the part here.' }) }),
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
  .openapi('Usage', { description: 'What is stored or reserved, in the bin included; a quota of null is no limit.' })

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
    description: 'Widths in pixels, comma-separated, to get links to the picture in; rounded up to RENDITION_SIZES.',
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
    // Without the example of an id: the page at /docs would send it.
    cursor: z
      .uuid()
      .optional()
      .openapi({ param: { name: 'cursor', in: 'query' }, description: '`nextCursor` of a page.' }),
    type: z
      .string()
      .regex(/^[a-z]+\/([a-z0-9.+-]+|\*)$/, 'expected a media type, or a family such as image/*')
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
        description: 'Up to 100 ids, comma-separated, instead of every other parameter but renditions.',
      }),
    renditions: widths,
  })
  .openapi('ListQuery')

/** The `security` of a route that also takes callers without credentials, for what is public. */
export const ANYONE = [{ bearer: [] }, { gateway: [] }, {}]

const inQuery = (name: string, description: string) => ({ param: { name, in: 'query' as const }, description })
const LINKED = 'Of what is not yours it takes a signed link, and is 403 `link_required` without.'
const pixels = z.coerce.number().int().min(1).max(MOST_PIXELS).optional()

/** Without any of `w`, `h`, `fit`, `format` and `q` it is the original. */
export const ContentQuery = z.strictObject({
  download: z.enum(['', '1', 'true']).optional().openapi(inQuery('download', 'Save it under its original name.')),
  w: pixels.openapi(inQuery('w', 'Width of a rendition in pixels, rounded up to RENDITION_SIZES; never enlarged.')),
  h: pixels.openapi(inQuery('h', `Height of a rendition, likewise. ${LINKED}`)),
  fit: z
    .enum(fits)
    .optional()
    .openapi(
      inQuery('fit', `\`inside\` (the default) keeps all of the picture, \`cover\` fills width and height. ${LINKED}`),
    ),
  format: z
    .enum(['auto', ...formats])
    .optional()
    .openapi(
      inQuery('format', `\`auto\` (the default) is the smallest format that Accept names; all others: ${LINKED}`),
    ),
  q: z.coerce
    .number()
    .int()
    .min(1)
    .max(100)
    .optional()
    .openapi(inQuery('q', `Quality, rounded up to a few steps. ${LINKED}`)),
  expires: z.coerce.number().int().min(0).optional().openapi(inQuery('expires', 'Of a link from `renditions`.')),
  signature: z.string().max(64).optional().openapi(inQuery('signature', 'Of a link from `renditions`.')),
})

const ProblemBody = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(problemCodes),
    errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
    id: z.uuid().optional().openapi({ description: 'Of the media object that an Idempotency-Key belongs to.' }),
  })
  .openapi('Problem')

type ProblemAnswer = {
  description: string
  content: { 'application/problem+json': { schema: typeof ProblemBody } }
}

/** What any route may answer that takes ids, queries or fields from a caller it has to know. */
export const KNOWN = ['request_invalid', 'token_missing', 'token_invalid', 'rate_limited', 'auth_unavailable'] as const
/** The same for a route with a JSON body. */
export const JSON_BODY = [...KNOWN, 'body_too_large', 'content_type_unsupported'] as const

/** What a route that needs the database and the store may answer when one of them is down. */
export const OUTAGES = ['storage_unavailable', 'database_unavailable'] as const

/** The `responses` entries of a route for `internal` and all the other problems it can answer with, by status. */
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
