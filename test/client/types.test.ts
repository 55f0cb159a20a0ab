import { expectTypeOf, test } from 'bun:test'
import type { z } from '@hono/zod-openapi'
import type * as client from '../../src/client/types.ts'
import type { MediaEvent } from '../../src/events/events.ts'
import type * as objects from '../../src/http/openapi/schemas/objects.ts'
import type * as uploads from '../../src/http/openapi/schemas/uploads.ts'
import type { Visibility } from '../../src/media/object/object.ts'
import type { ProblemCode } from '../../src/problem.ts'

// Held together by the type check: at run time nothing of this is left.
test("the client's types are those of the service", () => {
  expectTypeOf<client.MediaObject>().toEqualTypeOf<z.infer<typeof objects.MediaObject>>()
  expectTypeOf<Flat<client.SignedMediaObject>>().toEqualTypeOf<z.infer<typeof objects.SignedMediaObject>>()
  expectTypeOf<FlatPage<client.MediaPage>>().toEqualTypeOf<z.infer<typeof objects.MediaPage>>()
  expectTypeOf<client.Change>().toEqualTypeOf<z.infer<typeof objects.PatchBody>>()
  expectTypeOf<client.Usage>().toEqualTypeOf<z.infer<typeof objects.Usage>>()
  expectTypeOf<client.Presigned>().toEqualTypeOf<z.infer<typeof uploads.Presigned>>()
  expectTypeOf<client.Multipart>().toEqualTypeOf<z.infer<typeof uploads.Multipart>>()
  expectTypeOf<client.Parts>().toEqualTypeOf<z.infer<typeof uploads.Parts>>()
  expectTypeOf<client.PartLinks>().toEqualTypeOf<z.infer<typeof uploads.PartLinks>>()
  expectTypeOf<client.MediaEvent>().toEqualTypeOf<MediaEvent>()
  expectTypeOf<client.Visibility>().toEqualTypeOf<Visibility>()
  expectTypeOf<client.ProblemCode>().toEqualTypeOf<ProblemCode>()
})

/** An intersection as one object, for the comparison tells them apart. */
type Flat<T> = { [K in keyof T]: T[K] }
type FlatPage<T extends { items: unknown[] }> =
  Omit<T, 'items'> extends infer Rest ? Flat<Rest & { items: Flat<T['items'][number]>[] }> : never
