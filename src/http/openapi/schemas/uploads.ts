/** Schemas of uploads. */
import { z } from '@hono/zod-openapi'
import { visibilities } from '../../../media/object/object.ts'
import { MAX_PARTS } from '../../../storage/multipart.ts'
import { DeclaredType, FileName, HoldSeconds, Id, Time, Visibility } from './common.ts'

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

/** The form fields of `POST /media/upload`, apart from the file. Others, which libraries for uploads add, are ignored. */
export const UploadFields = z.object({
  visibility: Visibility.default('private'),
  holdSeconds: z.coerce.number().pipe(HoldSeconds).optional(),
})

const HOLD = 'How long the object is held for a claim; absent: it stays.'

/** Documentation only: the handler reads the body into reserved memory, so no validator may parse it first. */
export const uploadBody = {
  schema: {
    type: 'object' as const,
    required: ['file'],
    properties: {
      file: {
        type: 'string' as const,
        format: 'binary',
        minLength: 1,
        description: 'The file; the service detects its type from the bytes.',
      },
      visibility: { type: 'string' as const, enum: [...visibilities], default: 'private' },
      holdSeconds: { type: 'integer' as const, minimum: 60, maximum: 2_592_000, description: HOLD },
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
    fileType: DeclaredType.optional().openapi({
      description:
        `The media type, without regard to case and parameters: ${[...allowedTypes].join(', ')}. ` +
        'Without one, or with `application/octet-stream`, the bytes decide.',
    }),
    size: z.int().min(1).max(Number.MAX_SAFE_INTEGER).openapi({ maximum: maxObjectBytes }),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/i, 'expected 64 hexadecimal digits')
      .transform((hex) => hex.toLowerCase())
      .optional(),
    visibility: Visibility.default('private'),
    holdSeconds: HoldSeconds.optional(),
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
  .strictObject({
    partNumbers: z.array(PartNumber).min(1).max(MAX_LINKS),
    md5: z
      .array(
        z
          .string()
          .regex(/^[0-9a-f]{32}$/i, 'expected 32 hexadecimal digits')
          .transform((hex) => hex.toLowerCase()),
      )
      .max(MAX_LINKS)
      .optional()
      .openapi({
        description:
          'MD5 of the bytes of each part in hexadecimal, in the order of `partNumbers`; the links then enforce them. Some stores need it.',
      }),
  })
  .openapi('PartsRequest', { example: { partNumbers: [1, 2] } })

export const PartLinks = z
  .object({
    urls: z.array(
      z.object({
        partNumber: PartNumber,
        url: z.url().openapi({ description: 'PUT the bytes of the part to this URL.' }),
        headers: z
          .record(z.string(), z.string())
          .openapi({ description: 'Headers to send unchanged with the bytes; empty without `md5`.' }),
      }),
    ),
    expiresAt: z.iso.datetime(),
  })
  .openapi('PartLinks')
