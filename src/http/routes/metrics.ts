/** Metrics for Prometheus; the gateway does not route them. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'

export function metricsRoutes(app: OpenAPIHono, metrics: { text(): Promise<string>; contentType: string }): void {
  const read = createRoute({
    method: 'get',
    path: '/metrics',
    summary: 'Metrics for Prometheus',
    security: [],
    responses: {
      200: { description: 'The metrics of this replica.', content: { 'text/plain': { schema: z.string() } } },
    },
  })
  app.openapi(read, async (c) => c.text(await metrics.text(), 200, { 'content-type': metrics.contentType }))
}
