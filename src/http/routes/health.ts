/** Liveness and readiness for the platform that runs the service; the gateway does not route them. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { type Checks, works } from '../../observe/checks.ts'

// RFC 9110, section 10.2.3: a 503 tells when to retry.
const RETRY_AFTER = { 'retry-after': '5' }

const Ready = z
  .object({
    status: z.enum(['ready', 'not_ready', 'stopping']),
    database: z.enum(['ok', 'down']),
    storage: z.enum(['ok', 'down']),
    events: z
      .enum(['ok', 'degraded'])
      .openapi({ description: 'Degraded: events are stored until Redis is reachable again.' }),
  })
  .openapi('Readiness')

export function healthRoutes(
  app: OpenAPIHono,
  { checks, stopping }: { checks: Checks; stopping: () => boolean },
): void {
  const live = createRoute({
    method: 'get',
    path: '/health/live',
    summary: 'Liveness',
    security: [],
    responses: {
      200: {
        description: 'The process is running.',
        content: { 'application/json': { schema: z.object({ status: z.literal('live') }) } },
      },
    },
  })
  app.openapi(live, (c) => c.json({ status: 'live' as const }, 200))

  const ready = createRoute({
    method: 'get',
    path: '/health/ready',
    summary: 'Readiness, with the state of each dependency',
    security: [],
    responses: {
      200: { description: 'The replica can serve requests.', content: { 'application/json': { schema: Ready } } },
      503: {
        description: 'The replica cannot serve requests.',
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
