/** Traces: spans made from each request's record when it has ended. Loaded only if a collector is set. */
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from '@opentelemetry/sdk-trace'
import type { Log } from '../log.ts'
import type { RequestRecord } from '../telemetry/record.ts'

export type Traces = {
  /** Sends the record's spans in the background, and sets its trace id. */
  request(record: RequestRecord): void
  /** Flushes unsent spans. */
  close(): Promise<void>
}

// Further spans are dropped while this many wait for the collector: about 20 MB.
const QUEUED_SPANS = 8192
const SEND_EVERY_MS = 2000
const DEADLINE_MS = 5000

/**
 * Sends spans to a collector by OTLP over HTTP, as JSON. A request in an unsampled trace is not sent; a request without
 * a trace begins one.
 * @param deps.endpoint of the collector, without the path
 */
export function createTraces({ endpoint, log }: { endpoint: string; log: Log }): Traces {
  const exporter = new OTLPTraceExporter({ url: `${endpoint}/v1/traces`, timeoutMillis: DEADLINE_MS })
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'media-service' }),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: withWarning(exporter, log),
        maxQueueSize: QUEUED_SPANS,
        scheduledDelayMillis: SEND_EVERY_MS,
        exportTimeoutMillis: DEADLINE_MS,
      }),
    ],
  })
  const tracer = provider.getTracer('media-service')

  return {
    request(record) {
      // The monotonic clock of `performance` and the wall clock drift apart over weeks.
      const toWall = Date.now() - performance.now()
      const start = toWall + record.start
      const attributes = attributesOf(record)
      const span = tracer.startSpan(
        `${record.method} ${record.route}`,
        { kind: SpanKind.SERVER, startTime: start, attributes },
        parentOf(record),
      )
      record.traceId = span.spanContext().traceId
      if (!span.isRecording()) return
      if (record.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
      const inside = trace.setSpan(ROOT_CONTEXT, span)
      for (const step of record.steps) {
        const stepStart = toWall + step.start
        const kind = step.dependency === 'image' ? SpanKind.INTERNAL : SpanKind.CLIENT
        const child = tracer.startSpan(step.dependency, { kind, startTime: stepStart }, inside)
        if (step.failed) child.setStatus({ code: SpanStatusCode.ERROR })
        child.end(stepStart + step.ms)
      }
      span.end(start + record.ms)
    },

    close: () => provider.shutdown(),
  }
}

function parentOf({ parent }: RequestRecord) {
  if (parent === undefined) return ROOT_CONTEXT
  const { traceId, spanId, flags } = parent
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: flags, isRemote: true })
}

/** Attributes named by OpenTelemetry's semantic conventions for HTTP. */
function attributesOf(record: RequestRecord) {
  return {
    'http.request.method': record.method,
    'http.route': record.route,
    'http.response.status_code': record.status,
    'http.request.body.size': record.bytesIn,
    'http.response.body.size': record.bytesOut,
    'media.request_id': record.requestId,
    ...(record.userId !== undefined && { 'user.id': record.userId }),
    ...(record.mediaId !== undefined && { 'media.id': record.mediaId }),
    ...(record.code !== undefined && { 'error.type': record.code }),
  }
}

/** Logs one line per outage of the collector. */
function withWarning(exporter: SpanExporter, log: Log): SpanExporter {
  let working = true
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const works = result.error === undefined
        if (working && !works) log.warn({ err: result.error }, 'traces: the collector does not take them')
        working = works
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
  }
}
