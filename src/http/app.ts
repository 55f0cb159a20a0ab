/** The Hono app: middleware and routes. */
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
import { claimRoute } from './routes/claims.ts'
import { eventRoutes } from './routes/events.ts'
import { fileRoutes } from './routes/files.ts'
import { healthRoutes } from './routes/health.ts'
import { metricsRoutes } from './routes/metrics.ts'
import { multipartUploadRoutes } from './routes/multipart-uploads.ts'
import { objectRoutes } from './routes/objects.ts'
import { ownerRoutes } from './routes/owners.ts'
import { uploadRoutes } from './routes/uploads.ts'
import { uppyRoutes } from './routes/uppy.ts'
import { TUS_PATH } from './tus/deps.ts'
import { TUS_EXPOSED_HEADERS, tusCapabilities, tusRoutes } from './tus/routes.ts'
import type { Tus } from './tus/server.ts'

export type AppDeps = Omit<RouteDeps, 'identify' | 'addressOf'> & {
  authenticate: Authenticate
  /** Absent: requests are not limited. */
  limiter: Limiter | undefined
  trustedProxies: number
  liveEvents: LiveEvents
  checks: Checks
  metrics: Pick<Metrics, 'text' | 'contentType'>
  /** Whether the process is shutting down and should get no new requests. */
  stopping: () => boolean
  /** Whether the database, store and other ports are being closed, so that no new work can begin. */
  closing: () => boolean
  /** The disk store, when the service serves its signed links itself. */
  disk: DiskStorage | undefined
  /** Absent: tus uploads are off. */
  tus?: Tus | undefined
  /** Absent: /console is off. */
  console?: ConsoleDeps | undefined
  corsOrigins: string[]
  /** Called once per request, after all the work that it started has ended. */
  onRequest: (record: RequestRecord) => void
}

const EXPOSED_HEADERS = ['Location', 'ETag', 'X-Request-Id', 'Retry-After', ...LIMIT_HEADERS, ...TUS_EXPOSED_HEADERS]

/** Builds the HTTP interface; does no I/O. */
export function createApp(given: AppDeps): OpenAPIHono {
  const from = (c: Context) => addressOf(c, given.trustedProxies)
  const deps = { ...given, identify: createIdentify(given), addressOf: from }
  const app = new OpenAPIHono({ defaultHook: refuseInvalid })
  app.onError((error, c) => problemResponse(c, toProblem(fromHono(error))))
  app.notFound((c) => problemResponse(c, unmatched(app, c.req.path, c.req.method)))

  const { tus } = deps
  // Middleware that does nothing after the response is not async: each async wrapper costs every request half a µs.
  app.use(requestId({ limitLength: 128 }))
  app.use(observeRequests(deps.onRequest))
  app.use(refuseBadHost())
  // Before CORS, which ends every OPTIONS request.
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
  claimRoute(app, deps)
  objectRoutes(app, deps)
  if (deps.disk !== undefined) fileRoutes(app, deps.disk)
  docsRoutes(app, deps.publicBaseUrl)
  if (deps.console !== undefined) consoleRoutes(app, { ...deps.console, identify: deps.identify })
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', { type: 'http', scheme: 'bearer' })
  app.openAPIRegistry.registerComponent('securitySchemes', 'gateway', {
    type: 'apiKey',
    in: 'header',
    name: 'X-Gateway-Secret',
    description: 'Sent by a gateway that has authenticated the user, with the headers that name the user and the role.',
  })
  return app
}

/** Hono itself throws only for a JSON body that does not parse, and for a content type that it cannot read. */
function fromHono(error: unknown): unknown {
  if (!(error instanceof HTTPException)) return error
  if (error.status === 415)
    return new Problem('content_type_unsupported', 'The service cannot parse the content type of the request.', {
      cause: error,
    })
  if (error.status !== 400) return error
  return new Problem('request_invalid', 'The body is not valid JSON.', { cause: error })
}

/**
 * A gateway that does not poll readiness keeps sending requests until the end. A refused request has no effect and can
 * be retried; one that runs while the ports close would leave the bytes of its upload behind.
 */
function refuseWhenClosing(closing: () => boolean): MiddlewareHandler {
  return function refuseWhenClosing(_c, next) {
    if (closing()) throw new Problem('overloaded', 'This replica is stopping. Try again.', { retryAfterSeconds: 1 })
    return next()
  }
}

/** 400 for a Host that makes no valid URL (RFC 9112, section 3.2): links in the response may begin with it. */
function refuseBadHost(): MiddlewareHandler {
  return function refuseBadHost(c, next) {
    if (!URL.canParse(c.req.url)) throw new Problem('request_invalid', 'The Host header is not valid.')
    return next()
  }
}

/** Responses under /media are for one caller and may hold a link that soon expires; /content overrides this. */
function noStore(): MiddlewareHandler {
  return async function noStore(c, next) {
    // Set before the response exists: afterwards Hono would build a second one, with the body as a stream.
    c.header('cache-control', 'no-store')
    await next()
    // A response built without Hono's context lacks the header.
    if (!c.res.headers.has('cache-control')) c.header('cache-control', 'no-store')
  }
}

/**
 * Refuses other methods on paths without parameters: `GET /media/upload` does not ask for an object with the id
 * `upload`.
 */
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

/** 405 when the path exists for other methods (RFC 9110, section 15.5.6), else 404. */
function unmatched(app: OpenAPIHono, path: string, method: string): Problem {
  const allowed = new Set<string>()
  for (const route of app.routes) {
    if (route.method !== 'ALL' && covers(route.path, path)) allowed.add(route.method)
  }
  if (allowed.size === 0) return new Problem('not_found', 'No route matches this path.')
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
