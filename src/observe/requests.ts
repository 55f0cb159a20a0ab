/** Middleware that makes a record of each request. */
import type { Context, MiddlewareHandler } from 'hono'
import { matchedRoutes } from 'hono/route'
import type { StatusCode } from 'hono/utils/http-status'
import { validate as isUuid } from 'uuid'
import { ended, type RequestRecord, recording, type TraceParent } from '../telemetry/record.ts'

/** Context variables that handlers set for the record. */
export type Observed = {
  Variables: {
    requestId: string
    caller?: { userId: string }
    viewer?: { userId: string } | null
    uncounted?: true
    problem?: { code: string; cause?: unknown }
  }
}

/** @param done called once per request, when all work that it began has ended */
export function observeRequests(done: (record: RequestRecord) => void): MiddlewareHandler<Observed> {
  return async function observe(c, next) {
    const record = newRecord(c, done)
    countAnswer(c, record)
    try {
      await recording(record, next)
    } finally {
      complete(record, c)
      ended(record)
    }
  }
}

function newRecord(c: Context<Observed>, done: RequestRecord['done']): RequestRecord {
  const { headers } = c.req.raw
  const parent = parseTraceparent(headers.get('traceparent'))
  return {
    requestId: c.var.requestId,
    parent,
    traceId: parent?.traceId,
    method: METHODS.has(c.req.method) ? c.req.method : 'other',
    route: 'unmatched',
    start: performance.now(),
    ms: 0,
    status: 0,
    bytesIn: Number(headers.get('content-length') ?? 0),
    bytesOut: 0,
    userId: undefined,
    mediaId: undefined,
    code: undefined,
    uncounted: false,
    cause: undefined,
    spent: {},
    steps: [],
    running: 1,
    done,
  }
}

/** Other methods are not recorded, because they would be arbitrary client text in logs and metrics. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Counts a body where it is made, because reading the response's body turns it into a stream (Bun 1.4.5). */
function countAnswer(c: Context, record: RequestRecord): void {
  const { newResponse } = c
  const counted = (data: Data | null, status?: StatusCode, headers?: HeaderRecord) => {
    if (typeof data === 'string') record.bytesOut = Buffer.byteLength(data)
    return newResponse(data, status, headers)
  }
  Object.assign(c, {
    body: counted,
    json: (object: unknown, status?: StatusCode, headers?: HeaderRecord) =>
      counted(JSON.stringify(object), status, { 'content-type': 'application/json', ...headers }),
    text: (text: string, status?: StatusCode, headers?: HeaderRecord) =>
      counted(text, status, { 'content-type': 'text/plain; charset=UTF-8', ...headers }),
  })
}

type Data = Parameters<Context['newResponse']>[0]
type HeaderRecord = Record<string, string>

function complete(record: RequestRecord, c: Context<Observed>): void {
  const { res } = c
  const { caller, viewer, uncounted, problem } = c.var
  // The first match is the route that answers: later ones may match as well, as /media/:id matches /media/usage.
  const route = matchedRoutes(c).find(({ method }) => method !== 'ALL')
  const id = c.req.param('id')
  const length = res.headers.get('content-length')
  record.ms = performance.now() - record.start
  record.status = res.status
  if (route !== undefined) record.route = route.path
  if (length !== null) record.bytesOut = Number(length)
  if (c.req.method === 'HEAD') record.bytesOut = 0
  record.userId = caller?.userId ?? viewer?.userId
  if (id !== undefined && isUuid(id)) record.mediaId = id.toLowerCase()
  record.uncounted = uncounted === true
  if (problem === undefined) return
  record.code = problem.code
  if (record.status >= 500) record.cause = problem.cause ?? problem
}

/** Parses a traceparent (W3C Trace Context, section 3.2); an invalid one must be ignored. */
function parseTraceparent(header: string | null): TraceParent | undefined {
  if (header === null) return undefined
  const [, version, traceId, spanId, flags = '', more] = TRACEPARENT.exec(header) ?? []
  if (traceId === undefined || spanId === undefined || version === 'ff' || (version === '00' && more)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined
  return { traceId, spanId, flags: Number.parseInt(flags, 16) }
}

const TRACEPARENT = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/
