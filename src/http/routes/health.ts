/** For whoever keeps the service running; the gateway routes none of it. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { type Checks, works } from '../../observe/checks.ts'

// RFC 9110, section 10.2.3: a 503 says when to ask again.
const RETRY_AFTER = { 'retry-after': '5' }

const Ready = z
  .object({
    status: z.enum(['ready', 'not_ready', 'stopping']),
    database: z.enum(['ok', 'down']),
    storage: z.enum(['ok', 'down']),
    events: z.enum(['ok', 'degraded']).openapi({ description: 'Degraded: events are kept until they can be sent.' }),
  })
  .openapi('Readiness')

export function healthRoutes(
  app: OpenAPIHono,
  { checks, stopping }: { checks: Checks; stopping: () => boolean },
): void {
  const live = createRoute({
    method: 'get',
    path: '/health/live',
    summary: 'Is the process up?',
    security: [],
    responses: {
      200: {
        description: 'Yes.',
        content: { 'application/json': { schema: z.object({ status: z.literal('live') }) } },
      },
    },
  })
  app.openapi(live, (c) => c.json({ status: 'live' as const }, 200))

  const ready = createRoute({
    method: 'get',
    path: '/health/ready',
    summary: 'Can it serve, and which part cannot?',
    security: [],
    responses: {
      200: { description: 'It can.', content: { 'application/json': { schema: Ready } } },
      503: {
        description: 'It cannot.',
        headers: { 'Retry-After': { schema: { type: 'integer' } } },
        content: { 'application/json': { schema: Ready } },
      },
    },
  })
  app.openapi(ready, async (c) => {
    const [database, storage, events] = await Promise.all([
      works(checks.database),
      works(checks.storage),
      works(checks.events),
    ])
    const parts = {
      database: database ? ('ok' as const) : ('down' as const),
      storage: storage ? ('ok' as const) : ('down' as const),
      events: events ? ('ok' as const) : ('degraded' as const),
    }
    if (stopping()) return c.json({ status: 'stopping' as const, ...parts }, 503, RETRY_AFTER)
    return database && storage
      ? c.json({ status: 'ready' as const, ...parts }, 200)
      : c.json({ status: 'not_ready' as const, ...parts }, 503, RETRY_AFTER)
  })
}
