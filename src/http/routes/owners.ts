/** Usage and erasure of one owner. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { UserIds } from '../../auth/user-id.ts'
import { Problem } from '../../problem.ts'
import type { Deps } from '../deps.ts'
import { Usage } from '../openapi/schemas/objects.ts'
import { KNOWN, problems } from '../openapi/schemas/problems.ts'
import { requireCaller } from '../request/context.ts'
import { userName } from '../request/user-name.ts'

const Erasure = z
  .object({
    left: z.int().min(0).openapi({ description: 'Objects not yet marked for removal: repeat the call.' }),
    purging: z.int().min(0).openapi({ description: 'Objects marked for removal; upkeep removes their bytes.' }),
  })
  .openapi('Erasure')

const ownerQuery = (userIds: UserIds) =>
  z.strictObject({
    userId: userName(userIds).openapi({ param: { name: 'userId', in: 'query' } }),
  })

export function ownerRoutes(app: OpenAPIHono, { media, identify, userIds }: Deps): void {
  const known = requireCaller(identify)

  const usage = createRoute({
    method: 'get',
    path: '/media/usage',
    summary: 'Usage and quota',
    middleware: known,
    responses: {
      200: { description: 'Your usage.', content: { 'application/json': { schema: Usage } } },
      ...problems('token_missing', 'token_invalid', 'rate_limited', 'auth_unavailable', 'database_unavailable'),
    },
  })
  app.openapi(usage, async (c) => c.json(await media.owners.usage(c.var.caller), 200))

  const erase = createRoute({
    method: 'delete',
    path: '/media',
    summary: 'Erase all objects of a user (role service)',
    middleware: known,
    request: { query: ownerQuery(userIds) },
    responses: {
      202: { description: 'The erasure has begun.', content: { 'application/json': { schema: Erasure } } },
      ...problems(...KNOWN, 'forbidden', 'database_unavailable'),
    },
  })
  app.openapi(erase, async (c) => {
    if (c.var.caller.role !== 'service') throw new Problem('forbidden', 'The caller needs the role service.')
    return c.json(await media.owners.erase(c.req.valid('query').userId), 202)
  })
}
