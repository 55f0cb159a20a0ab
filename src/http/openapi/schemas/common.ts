/** Schemas that several others are made of. */
import { z } from '@hono/zod-openapi'
import { visibilities } from '../../../media/object/object.ts'

/** Any media object in the examples; `$ID` in those for curl. */
export const EXAMPLE_ID = '019ab1c2-7c5e-7d52-b54b-3f7c1f0e6a11'
export const Id = z.uuid().openapi({ example: EXAMPLE_ID })
export const Visibility = z.enum(visibilities)
export const Time = z.iso.datetime().openapi({ example: '2026-11-22T12:00:00.000Z' })
export const FileName = z.string().min(1).max(1024).openapi({ example: 'holiday.jpg' })
export const MediaType = z.string().max(127).openapi({ format: 'media-range', example: 'image/jpeg' })
export const DeclaredType = z.string().max(127).openapi({ format: 'media-type', example: 'image/jpeg' })

/** From a minute, so that nobody loses an object to a slow form, to thirty days. */
export const HoldSeconds = z.int().min(60).max(2_592_000).openapi({
  description:
    'The object goes to the bin this long after its completion unless it is claimed (`POST /media/claim`). Absent: it stays.',
})

export const IdParam = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) })
