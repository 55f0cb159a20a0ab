import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createClient, JWT_SECRET, newUser, until } from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, openParts, openStage, runtime } from '../support/process/acceptance.ts'
import { freePort } from '../support/process/port.ts'
import { runToEnd } from '../support/process/process.ts'
import { startService } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'

type Span = {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: { key: string; value: { stringValue?: string; intValue?: number } }[]
  status: { code: number }
}
type Batch = {
  resourceSpans: {
    resource: { attributes: Span['attributes'] }
    scopeSpans: { spans: Span[] }[]
  }[]
}

/** Takes what an OpenTelemetry collector takes. */
function openCollector() {
  const batches: Batch[] = []
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    async fetch(request) {
      if (new URL(request.url).pathname !== '/v1/traces' || request.method !== 'POST')
        return new Response(null, { status: 404 })
      batches.push((await request.json()) as Batch)
      return Response.json({})
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}`,
    batches,
    spans: () =>
      batches.flatMap((batch) =>
        batch.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
      ),
    close: () => server.stop(true),
  }
}

const collector = openCollector()
const stage = await openStage({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
const { call, service } = stage
// Of services that are started one after the other.
const parts = await openParts()
setDefaultTimeout(60_000)
afterAll(async () => {
  await stage.close()
  await parts.remove()
  await collector.close()
})

const valuesOf = ({ attributes }: Pick<Span, 'attributes'>) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]))
const ofTrace = (traceId: string) => collector.spans().filter((span) => span.traceId === traceId)
const lineOf = (requestId: string | null) => {
  const lines = service
    .logs()
    .split('\n')
    .filter((line) => line.includes('"msg":"request"'))
  return lines.map((line) => JSON.parse(line)).find((line) => line.requestId === requestId)
}

const SERVER = 2
const ERROR = 2

describe('a request that the gateway has in a trace', () => {
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const parentSpanId = 'b7ad6b7169203331'

  test('is a span of it, with one for each time that it waited for something', async () => {
    const user = newUser()
    const { body, headers } = multipart([
      { name: 'file', filename: 'a.jpg', content: await readCorpus('accept/rocket.jpg') },
    ])
    const traceparent = `00-${traceId}-${parentSpanId}-01`
    const begun = Date.now()
    const answer = await call('/media/upload', { method: 'POST', as: user, body, headers: { ...headers, traceparent } })
    const { id } = await answer.json()
    const spans = await until(() => {
      expect(ofTrace(traceId).map(({ name }) => name)).toContain('POST /media/upload')
      return ofTrace(traceId)
    })
    const root = spans.find(({ name }) => name === 'POST /media/upload')!
    expect(root).toMatchObject({ parentSpanId, kind: SERVER })
    expect(valuesOf(root)).toMatchObject({
      'http.request.method': 'POST',
      'http.route': '/media/upload',
      'http.response.status_code': 201,
      'media.id': id,
      'user.id': user,
    })
    const steps = spans.filter((span) => span !== root)
    const limits = backend === 'real' ? ['limits'] : []
    expect(new Set(steps.map(({ name }) => name))).toEqual(new Set(['database', 'store', 'image', 'events', ...limits]))
    for (const step of steps) {
      expect(step.parentSpanId).toBe(root.spanId)
      expect(BigInt(step.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(root.startTimeUnixNano))
      expect(BigInt(step.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(step.startTimeUnixNano))
    }
    expect(Number(root.startTimeUnixNano) / 1e6).toBeWithin(begun - 50, Date.now())
    expect(Number(root.endTimeUnixNano) / 1e6).toBeWithin(begun - 50, Date.now() + 50)
    expect(lineOf(answer.headers.get('x-request-id'))).toMatchObject({ traceId })
    expect(valuesOf(collector.batches[0]!.resourceSpans[0]!.resource)).toMatchObject({
      'service.name': 'media-service',
    })
  })

  test('is not sent when the gateway does not sample it', async () => {
    const unsampled = '1'.repeat(32)
    await call('/media', { as: newUser(), headers: { traceparent: `00-${unsampled}-${parentSpanId}-00` } })
    const later = await call('/media', { as: newUser() })
    const { traceId: other } = await until(() => lineOf(later.headers.get('x-request-id')) ?? expect.unreachable())
    await until(() => expect(ofTrace(other)).not.toBeEmpty())
    expect(ofTrace(unsampled)).toEqual([])
  })
})

test('a request that is in no trace begins one, and its line in the log names it', async () => {
  const answer = await call(`/media/${crypto.randomUUID()}`, { as: newUser() })
  const line = await until(() => lineOf(answer.headers.get('x-request-id')) ?? expect.unreachable())
  expect(line.traceId).toMatch(/^[\da-f]{32}$/)
  const root = await until(
    () => ofTrace(line.traceId).find(({ name }) => name === 'GET /media/:id') ?? expect.unreachable(),
  )
  expect(root.parentSpanId || undefined).toBeUndefined()
  expect(valuesOf(root)).toMatchObject({ 'error.type': 'not_found', 'http.response.status_code': 404 })
  expect(root.status.code).not.toBe(ERROR)
})

test('spans of requests just before SIGTERM are sent', async () => {
  const own = openCollector()
  const env = { ...parts.env, AUTH_JWT_SECRET: JWT_SECRET, OTEL_EXPORTER_OTLP_ENDPOINT: own.url }
  const ending = await startService({ runtime, env })
  await fetch(`${ending.baseUrl}/media`)
  expect(await ending.stop()).toBe(0)
  expect(own.spans().map(({ name }) => name)).toContain('GET /media')
  await own.close()
})

test('a collector that is down is warned about once, and nobody else hears of it', async () => {
  const endpoint = `http://127.0.0.1:${await freePort()}`
  const env = { ...parts.env, AUTH_JWT_SECRET: JWT_SECRET, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }
  const alone = await startService({ runtime, env })
  await createClient(alone.baseUrl).uploaded(newUser())
  const warnings = () =>
    alone
      .logs()
      .split('\n')
      .filter((line) => line.includes('the collector does not take them'))
  await until(() => expect(warnings()).not.toBeEmpty(), 20_000)
  expect((await fetch(`${alone.baseUrl}/media`)).status).toBe(401)
  const begun = performance.now()
  expect(await alone.stop()).toBe(0)
  expect(performance.now() - begun).toBeLessThan(10_000)
  expect(warnings()).toHaveLength(1)
})

// Only Bun says what it has loaded.
if (runtime === 'bun') {
  test('nothing that makes or sends traces is loaded without a collector', async () => {
    const port = String(await freePort())
    const main = `${repository}/src/main.ts`
    const check = `await import(${JSON.stringify(main)}); const loaded = Object.keys(require.cache); if (!loaded.includes(${JSON.stringify(main)})) process.exit(2); process.exit(loaded.some((name) => /opentelemetry.(sdk|exporter|otlp|resources|core)/.test(name)) ? 1 : 0)`
    const start = (env: Record<string, string>) =>
      runToEnd([process.execPath, '--no-env-file', '-e', check], {
        cwd: repository,
        env: { ...parts.env, PORT: port, AUTH_JWT_SECRET: JWT_SECRET, ...env },
      })
    await start({})
    await expect(start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })).rejects.toThrow('ended with 1')
  })
}
