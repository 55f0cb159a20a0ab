/** Routes for resumable uploads by tus 1.0. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { TUS_RESUMABLE } from '@tus/server'
import type { Context, MiddlewareHandler } from 'hono'
import { validate as isUuid } from 'uuid'
import { notFound, type Problem } from '../../problem.ts'
import type { Deps } from '../deps.ts'
import { originOf, type RequiresCaller, requireCaller } from '../request/context.ts'
import { HttpProblem } from '../request/problem-response.ts'
import { TUS_PATH } from './deps.ts'
import { describe } from './description.ts'
import type { Tus } from './server.ts'

/** Response headers that pages of other origins may read. */
export const TUS_EXPOSED_HEADERS = [
  'Tus-Resumable',
  'Tus-Version',
  'Tus-Extension',
  'Tus-Max-Size',
  'Upload-Offset',
  'Upload-Length',
  'Upload-Defer-Length',
  'Upload-Metadata',
  'Upload-Expires',
  'Media-Location',
]

/** Adds the server's capabilities to every OPTIONS response, also to one that the CORS middleware makes. */
export function tusCapabilities(tus: Tus): MiddlewareHandler {
  return async function tusCapabilities(c, next) {
    if (c.req.method === 'OPTIONS') for (const [name, value] of await tus.capabilities()) c.header(name, value)
    await next()
  }
}

export function tusRoutes(app: OpenAPIHono, { identify, publicBaseUrl, fileLimits, tus }: Deps & { tus: Tus }): void {
  const paths = [TUS_PATH, `${TUS_PATH}/:id`]
  const known = requireCaller(identify)

  async function handle(c: Context<RequiresCaller>): Promise<Response> {
    const id = c.req.param('id')
    if (id !== undefined && !isUuid(id)) throw notFound()
    const request = overridden(c.req.raw)
    if (request.method === 'GET' || (request.method === 'POST') !== (id === undefined))
      throw misused(request.method, id)
    return tus.handle({ request, id: id?.toLowerCase(), caller: c.var.caller, origin: originOf(c, publicBaseUrl) })
  }

  for (const path of paths) {
    // Set on refusals as well (tus 1.0, "Tus-Resumable").
    app.use(path, async function tusResumable(c, next) {
      c.header('tus-resumable', TUS_RESUMABLE)
      await next()
    })
    app.options(path, (c) => c.body(null, 204))
  }
  app.post(TUS_PATH, known, handle)
  // Hono routes HEAD as GET; POST may carry the method in a header (tus 1.0, "X-HTTP-Method-Override").
  app.on(['GET', 'POST', 'PATCH', 'DELETE'], `${TUS_PATH}/:id`, known, handle)
  app.get(TUS_PATH, (c) => {
    throw misused(c.req.method, undefined)
  })
  describe(app, fileLimits)
}

function overridden(request: Request): Request {
  const method = request.headers.get('x-http-method-override')?.toUpperCase()
  if (request.method !== 'POST' || method === undefined || !['HEAD', 'PATCH', 'DELETE'].includes(method)) return request
  return new Request(request, { method })
}

function misused(method: string, id: string | undefined): Problem {
  const allow = id === undefined ? 'OPTIONS, POST' : 'DELETE, HEAD, OPTIONS, PATCH'
  return new HttpProblem('method_not_allowed', `${method} is not allowed here; ${allow} is.`, { headers: { allow } })
}
