/** What the service answers, as its routes define it. */
import type { z } from '@hono/zod-openapi'
import type * as schemas from '../http/openapi/schemas.ts'

export type { MediaEvent } from '../events/events.ts'
export type { Visibility } from '../media/object/object.ts'
export type { ProblemCode } from '../problem.ts'

export type MediaObject = z.infer<typeof schemas.MediaObject>
export type SignedMediaObject = z.infer<typeof schemas.SignedMediaObject>
export type MediaPage = z.infer<typeof schemas.MediaPage>
export type Change = z.infer<typeof schemas.PatchBody>
export type Usage = z.infer<typeof schemas.Usage>
export type Presigned = z.infer<typeof schemas.Presigned>
export type Multipart = z.infer<typeof schemas.Multipart>
export type Parts = z.infer<typeof schemas.Parts>
export type PartLinks = z.infer<typeof schemas.PartLinks>
