/** Schemas of media objects, and of the queries for them. */
import { z } from '@hono/zod-openapi'
import { fits, formats } from '../../../media/object/rendition.ts'
import { FileName, Id, MediaType, Time, Visibility } from './common.ts'

// UUID (RFC 9562), as a pattern for comma-separated lists.
const HEX = '[0-9a-fA-F]'
const UUID = `${HEX}{8}-${HEX}{4}-[1-8]${HEX}{3}-[89abAB]${HEX}{3}-${HEX}{12}`
// Larger than any screen.
const MOST_PIXELS = 9999

export const MediaObject = z
  .object({
    id: Id,
    userId: z.guid(),
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
    expiresAt: Time.optional().openapi({
      description: 'Shown to the owner, until when the object is held unless it is claimed.',
    }),
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
/** Other parameters, which social networks add to links, are ignored. */
export const ContentQuery = z.object({
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
  // Without it the document would allow larger numbers, which int() refuses.
  expires: z.coerce
    .number()
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .optional()
    .openapi(inQuery('expires', 'Set in links from `renditions`.')),
  signature: z.string().max(64).optional().openapi(inQuery('signature', 'Set in links from `renditions`.')),
})
