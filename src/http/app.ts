/** Middleware and routes, nothing else. */
import { OpenAPIHono } from '@hono/zod-openapi'
import type { Context, MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { HTTPException } from 'hono/http-exception'
import { requestId } from 'hono/request-id'
import type { Authenticate } from '../auth/auth.ts'
import type { Limiter } from '../limits/limits.ts'
import type { LiveEvents } from '../media/outbox/live-events.ts'
import type { Checks } from '../observe/checks.ts'
import type { Metrics } from '../observe/metrics.ts'
import { observeRequests } from '../observe/requests.ts'
import { Problem } from '../problem.ts'
import type { DiskStorage } from '../storage/disk/storage.ts'
import type { RequestRecord } from '../telemetry/record.ts'
import { drainUnread } from './body/read.ts'
import type { Deps as RouteDeps } from './deps.ts'
import { type ConsoleDeps, consoleRoutes } from './pages/console.ts'
import { docsRoutes } from './pages/docs.ts'
import { addressOf, createIdentify, LIMIT_HEADERS } from './request/identify.ts'
import { HttpProblem, problemResponse, toProblem } from './request/problem-response.ts'
import { refuseInvalid } from './request/validation.ts'
import { eventRoutes } from './routes/events.ts'
import { fileRoutes } from './routes/files.ts'
import { healthRoutes } from './routes/health.ts'
import { metricsRoutes } from './routes/metrics.ts'
import { multipartUploadRoutes } from './routes/multipart-uploads.ts'
import { objectRoutes } from './routes/objects.ts'
import { ownerRoutes } from './routes/owners.ts'
import { uploadRoutes } from './routes/uploads.ts'
import { uppyRoutes } from './routes/uppy.ts'
import { TUS_EXPOSED_HEADERS, tusCapabilities, tusRoutes } from './tus/routes.ts'
import { TUS_PATH, type Tus } from './tus/server.ts'

export type AppDeps = Omit<RouteDeps, 'identify' | 'addressOf'> & {
  authenticate: Authenticate
  /** Absent: requests are not limited. */
  limiter: Limiter | undefined
  trustedProxies: number
  liveEvents: LiveEvents
  checks: Checks
  metrics: Pick<Metrics, 'text' | 'contentType'>
  /** Whether the process is on its way out, so that no new requests should come. */
  stopping: () => boolean
  /** Whether what the service stands on is being closed, so that nothing can be begun any more. */
  closing: () => boolean
  /** The disk store, when it serves its own links. */
  disk: DiskStorage | undefined
  /** Absent: there are no tus uploads. */
  tus?: Tus | undefined
  /** Absent: there is no page at /console. */
  console?: ConsoleDeps | undefined
  corsOrigins: string[]
  /** Called once for each request, when everything that it began has ended. */
  onRequest: (record: RequestRecord) => void
}

const EXPOSED_HEADERS = ['Location', 'ETag', 'X-Request-Id', 'Retry-After', ...LIMIT_HEADERS, ...TUS_EXPOSED_HEADERS]

/** The whole HTTP interface. Does no I/O when called. */
export function createApp(given: AppDeps): OpenAPIHono {
  const from = (c: Context) => addressOf(c, given.trustedProxies)
  const deps = { ...given, identify: createIdentify(given), addressOf: from }
  const app = new OpenAPIHono({ defaultHook: refuseInvalid })
  app.onError((error, c) => problemResponse(c, toProblem(fromHono(error))))
  app.notFound((c) => problemResponse(c, unmatched(app, c.req.path, c.req.method)))

  const { tus } = deps
  // What has nothing to do after the answer is not async: each async function around it costs every request half a µs.
  app.use(requestId({ limitLength: 128 }))
  app.use(observeRequests(deps.onRequest))
  app.use(refuseBadHost())
  // Before the answer about other origins, which is the last word on OPTIONS.
  if (tus !== undefined) for (const path of [TUS_PATH, `${TUS_PATH}/*`]) app.use(path, tusCapabilities(tus))
  if (deps.corsOrigins.length > 0) app.use(cors({ origin: deps.corsOrigins, exposeHeaders: EXPOSED_HEADERS }))
  app.use(drainUnread())
  app.use(refuseWhenClosing(deps.closing))
  app.use(refuseOtherMethods(app))
  app.use('/media/*', noStore())

  healthRoutes(app, deps)
  metricsRoutes(app, deps.metrics)
  uploadRoutes(app, deps)
  if (tus !== undefined) tusRoutes(app, { ...deps, tus })
  multipartUploadRoutes(app, deps)
  uppyRoutes(app, deps)
  ownerRoutes(app, deps)
  eventRoutes(app, deps)
  objectRoutes(app, deps)
  if (deps.disk !== undefined) fileRoutes(app, deps.disk)
  docsRoutes(app)
  if (deps.console !== undefined) consoleRoutes(app, { ...deps.console, identify: deps.identify })
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', { type: 'http', scheme: 'bearer' })
  app.openAPIRegistry.registerComponent('securitySchemes', 'gateway', {
    type: 'apiKey',
    in: 'header',
    name: 'X-Gateway-Secret',
    description: 'With X-User-Id and X-User-Role; for a gateway that has authenticated its user.',
  })
  return app
}

/** Hono itself throws only for a JSON body that does not parse, and for a content type that it cannot read. */
function fromHono(error: unknown): unknown {
  if (!(error instanceof HTTPException)) return error
  if (error.status === 415)
    return new Problem('content_type_unsupported', 'The content type of the request cannot be read.', { cause: error })
  if (error.status !== 400) return error
  return new Problem('request_invalid', 'The body is not valid JSON.', { cause: error })
}

/**
 * A gateway that does not ask for readiness sends requests up to the end. Refused, they have no effect and can be sent
 * again; half done, on parts that close under them, an upload would leave its bytes behind.
 */
function refuseWhenClosing(closing: () => boolean): MiddlewareHandler {
  return function refuseWhenClosing(_c, next) {
    if (closing()) throw new Problem('overloaded', 'This replica is stopping. Try again.', { retryAfterSeconds: 1 })
    return next()
  }
}

/** A Host that makes no URL is 400 (RFC 9112, section 3.2): what is linked to in an answer may begin with it. */
function refuseBadHost(): MiddlewareHandler {
  return function refuseBadHost(c, next) {
    if (!URL.canParse(c.req.url)) throw new Problem('request_invalid', 'The Host header is not valid.')
    return next()
  }
}

/** What is answered under /media is for its caller, and may hold a link that is soon dead; content says otherwise. */
function noStore(): MiddlewareHandler {
  return async function noStore(c, next) {
    // Before the answer is there: Hono would make another one, of the first one's body as a stream.
    c.header('cache-control', 'no-store')
    await next()
    // An answer that was made without Hono's context knows nothing of it.
    if (!c.res.headers.has('cache-control')) c.header('cache-control', 'no-store')
  }
}

/** `GET /media/upload` is no object with the id `upload`: a path without parameters has only its own methods. */
function refuseOtherMethods(app: OpenAPIHono): MiddlewareHandler {
  let fixed: Map<string, Set<string>> | undefined
  return function refuseOtherMethods(c, next) {
    fixed ??= fixedPaths(app)
    const methods = fixed.get(c.req.path)
    const method = c.req.method === 'HEAD' ? 'GET' : c.req.method
    if (methods !== undefined && !methods.has(method)) throw notAllowed(methods, c.req.method)
    return next()
  }
}

/** The methods of each path without parameters. */
function fixedPaths({ routes }: OpenAPIHono): Map<string, Set<string>> {
  const fixed = new Map<string, Set<string>>()
  for (const { path, method } of routes) {
    if (method !== 'ALL' && !/[:*]/.test(path)) fixed.set(path, (fixed.get(path) ?? new Set()).add(method))
  }
  return fixed
}

/** 405 where the path exists for other methods (RFC 9110, section 15.5.6), else 404. */
function unmatched(app: OpenAPIHono, path: string, method: string): Problem {
  const allowed = new Set<string>()
  for (const route of app.routes) {
    if (route.method !== 'ALL' && covers(route.path, path)) allowed.add(route.method)
  }
  if (allowed.size === 0) return new Problem('not_found', 'There is nothing at this address.')
  return notAllowed(allowed, method)
}

function notAllowed(methods: ReadonlySet<string>, method: string): Problem {
  const allow = [...new Set(methods.has('GET') ? [...methods, 'HEAD'] : methods)].sort().join(', ')
  return new HttpProblem('method_not_allowed', `${method} is not allowed here; ${allow} is.`, { headers: { allow } })
}

/** Whether a route's path, with `:name` segments and perhaps a `*` at its end, is the path of a request. */
function covers(pattern: string, path: string): boolean {
  const wanted = pattern.split('/')
  const given = path.split('/')
  const open = wanted.at(-1) === '*'
  if (open ? given.length < wanted.length : given.length !== wanted.length) return false
  return wanted.every(
    (segment, i) => (segment.startsWith(':') && given[i] !== '') || segment === '*' || segment === given[i],
  )
}
