/** The route that claims held objects. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { Caller } from '../../auth/caller.ts'
import type { UserIds } from '../../auth/user-id.ts'
import { jsonOnly } from '../body/read.ts'
import type { Deps } from '../deps.ts'
import { EXAMPLE_ID, Id } from '../openapi/schemas/common.ts'
import { MediaObject } from '../openapi/schemas/objects.ts'
import { JSON_BODY, problems } from '../openapi/schemas/problems.ts'
import { originOf, requireCaller } from '../request/context.ts'
import { invalidFields } from '../request/problem-response.ts'
import { userName } from '../request/user-name.ts'
import { present } from './present.ts'

const Claimed = z.object({ items: z.array(MediaObject) }).openapi('ClaimedObjects')

function claimBody(userIds: UserIds) {
  return z
    .strictObject({
      ids: z
        .array(Id.transform((id) => id.toLowerCase()))
        .min(1)
        .max(100)
        .refine((ids) => new Set(ids).size === ids.length, 'expected distinct ids')
        .openapi({ uniqueItems: true }),
      userId: userName(userIds).optional(),
    })
    .openapi('ClaimRequest', { example: { ids: [EXAMPLE_ID] } })
}

export function claimRoute(app: OpenAPIHono, { media, publicBaseUrl, identify, userIds }: Deps): void {
  const claim = createRoute({
    method: 'post',
    path: '/media/claim',
    summary: 'Keep held objects for good, all or none',
    description:
      'Ends the hold that `holdSeconds` began. `userId` is the owner of all of them: required of the role service, ' +
      "because a form's ids come from strangers, and otherwise absent or the caller's own. Objects that are not held " +
      'count as claimed. With 409 `state_conflict`, `ids` names those that are deleted or not complete.',
    middleware: [requireCaller(identify), jsonOnly()] as const,
    request: { body: { required: true, content: { 'application/json': { schema: claimBody(userIds) } } } },
    responses: {
      200: { description: 'The objects, in the order asked.', content: { 'application/json': { schema: Claimed } } },
      ...problems(...JSON_BODY, 'not_found', 'state_conflict', 'database_unavailable'),
    },
  })
  app.openapi(claim, async (c) => {
    const { ids, userId } = c.req.valid('json')
    const origin = originOf(c, publicBaseUrl)
    const objects = await media.objects.claim(ids, ownerFor(c.var.caller, userId))
    return c.json({ items: objects.map((row) => present(row, origin)) }, 200)
  })
}

function ownerFor({ role, userId }: Caller, named: string | undefined): string {
  if (role === 'service' && named === undefined)
    throw invalidFields([{ field: 'userId', message: 'is required of the role service' }])
  if (role !== 'service' && named !== undefined && named !== userId)
    throw invalidFields([{ field: 'userId', message: 'is not the caller' }])
  return named ?? userId
}
