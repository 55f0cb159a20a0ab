/** The HTTP server on the domain: authentication, metrics, traces, the app, and graceful shutdown. */
import process from 'node:process'
import { developmentToken } from '../auth/development.ts'
import type { Config } from '../config/config.ts'
import { queriesUnderWay } from '../db/connect.ts'
import { createApp } from '../http/app.ts'
import { createUploadMemory, type UploadMemory } from '../http/body/memory.ts'
import type { ConsoleDeps } from '../http/pages/console.ts'
import { createTus } from '../http/tus/server.ts'
import type { Log } from '../log.ts'
import { UPLOAD_LEASE_SECONDS } from '../media/object/graces.ts'
import { createRenditionLinks } from '../media/renditions/links.ts'
import { createLeaseLocker } from '../media/uploads/tus-locker.ts'
import type { Checks } from '../observe/checks.ts'
import { createMetrics, type Metrics } from '../observe/metrics.ts'
import { createRequestLog } from '../observe/request-log.ts'
import type { Traces } from '../observe/traces.ts'
import { openAuthentication } from './authenticate.ts'
import { type Drainable, drainable } from './drain.ts'
import type { Service } from './service.ts'

export type Server = {
  fetch: Drainable['fetch']
  /** Starts the background work. */
  start(): void
  /** Drains running requests, then stops the background work and closes everything. */
  stop(): Promise<void>
  /** Makes a token for trying the service out; absent if authentication is configured. */
  developmentToken: (() => Promise<string>) | undefined
  hasConsole: boolean
}

type Logs = {
  log: Log
  /** A logger without redaction, for lines without secrets; redacting costs more than writing. */
  trusted: Log
}

// Within this, running requests end; with what follows it, the process ends within 10 seconds of SIGTERM.
const DRAIN_MS = 7000
const CLOSE_MS = 2000

/** @throws Error when an identity provider is set that cannot be the one */
export async function createServer(service: Service, config: Config, { log, trusted }: Logs): Promise<Server> {
  const { media, storage, relay, upkeep, liveEvents, jwtSecrets } = service
  let phase: 'open' | 'stopping' | 'closing' = 'open'
  const stopping = () => phase !== 'open'
  const token = service.development && jwtSecrets !== undefined ? () => developmentToken(jwtSecrets[0]) : undefined
  const hasConsole = config.http.console ?? service.development
  const uploadMemory = createUploadMemory(config.http.uploadMemoryBytes)
  const checks = { database: service.repository.health.check, storage: storage.check, events: service.events.check }
  const metrics = metricsOf(service, checks, { budget: config.http.uploadMemoryBytes, memory: uploadMemory })
  const traces = await openTraces(config, log)
  const app = createApp({
    media,
    ...(await openAuthentication(config, jwtSecrets, log)),
    publicBaseUrl: config.http.publicBaseUrl,
    maxUploadBytes: config.media.maxUploadBytes,
    fileLimits: config.media,
    renditionLinks: createRenditionLinks({
      secrets: service.linkSecrets,
      sizes: config.media.renditionSizes,
      seconds: config.media.signedUrlSeconds,
      now: Date.now,
    }),
    uploadMemory,
    limiter: service.limiter,
    trustedProxies: config.http.trustedProxies,
    console: hasConsole ? consoleOf(service, config, token) : undefined,
    corsOrigins: config.http.corsOrigins,
    liveEvents,
    checks,
    metrics,
    stopping,
    closing: () => phase === 'closing',
    disk: service.disk,
    tus: tusOf(service, config, stopping, log),
    onRequest: recorder(metrics, traces, createRequestLog({ log, trusted })),
  })
  const requests = drainable((request, peer) => app.fetch(withUrl(request), { peer }))
  return {
    fetch: requests.fetch,
    start() {
      relay.start()
      upkeep.start(metrics.upkeep)
    },
    async stop() {
      phase = 'stopping'
      liveEvents.stop()
      await requests.idle(DRAIN_MS)
      phase = 'closing'
      // Unfinished background work is safe to abandon: the next process continues it.
      setTimeout(() => process.exit(0), CLOSE_MS)
      await Promise.all([service.close(), traces?.close()])
    },
    developmentToken: token,
    hasConsole,
  }
}

function metricsOf(service: Service, checks: Checks, { budget, memory }: { budget: number; memory: UploadMemory }) {
  return createMetrics({
    checks,
    backlog: service.repository.health.backlog,
    uploadMemory: { budget, usage: memory.usage },
    temporary: service.tusStores.room,
    decoders: service.decoders,
    eventStreams: service.liveEvents.count,
    connections: { most: service.connections, wanted: queriesUnderWay },
    now: Date.now,
  })
}

function tusOf({ media, storage, tusStores: stores }: Service, config: Config, stopping: () => boolean, log: Log) {
  const leaseMs = UPLOAD_LEASE_SECONDS * 1000
  const locker = createLeaseLocker({ leases: media.uploads.tus.leases, log, leaseMs, stopping })
  const { maxObjectBytes, pendingSeconds } = config.media
  return createTus({ media, storage, stores, locker, log, maxObjectBytes, pendingSeconds })
}

function consoleOf({ storage }: Service, config: Config, token: Server['developmentToken']): ConsoleDeps {
  const { cdnBaseUrl, allowedTypes, maxObjectBytes, retentionSeconds } = config.media
  const { publicBaseUrl } = config.http
  return { storage, developmentToken: token, publicBaseUrl, cdnBaseUrl, allowedTypes, maxObjectBytes, retentionSeconds }
}

/** Traces come first, because they give the record the trace id for its log line. */
function recorder(metrics: Metrics, traces: Traces | undefined, logRequest: ReturnType<typeof createRequestLog>) {
  return (record: Parameters<Metrics['request']>[0]) => {
    traces?.request(record)
    metrics.request(record)
    logRequest(record)
  }
}

/** Loads OpenTelemetry only if a collector is set. */
async function openTraces({ traces: { endpoint } }: Config, log: Log): Promise<Traces | undefined> {
  return endpoint === undefined ? undefined : (await import('../observe/traces.ts')).createTraces({ endpoint, log })
}

/**
 * HTTP/1.0 needs no Host, and health checks of load balancers send none: Bun 1.4 then gives a path in place of the URL.
 */
function withUrl(request: Request): Request {
  return request.url.startsWith('/') && request.headers.get('host') === null
    ? new Request(`http://localhost${request.url}`, request)
    : request
}
