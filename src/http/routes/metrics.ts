/** What Prometheus reads; the gateway routes none of it. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'

export function metricsRoutes(app: OpenAPIHono, metrics: { text(): Promise<string>; contentType: string }): void {
  const read = createRoute({
    method: 'get',
    path: '/metrics',
    summary: 'Metrics for Prometheus',
    security: [],
    responses: { 200: { description: 'All of them.', content: { 'text/plain': { schema: z.string() } } } },
  })
  app.openapi(read, async (c) => c.text(await metrics.text(), 200, { 'content-type': metrics.contentType }))
}
