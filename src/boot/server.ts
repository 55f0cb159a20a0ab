/** The HTTP server on the domain: authentication, metrics, traces and the app, and how all of it ends. */
import process from 'node:process'
import { createAuthenticate } from '../auth/auth.ts'
import { developmentToken } from '../auth/development.ts'
import { createJwks } from '../auth/jwks.ts'
import type { Config } from '../config.ts'
import { queriesUnderWay } from '../db/connect.ts'
import { createApp } from '../http/app.ts'
import { createUploadMemory } from '../http/body/memory.ts'
import type { ConsoleDeps } from '../http/pages/console.ts'
import { createLeaseLocker } from '../http/tus/locker.ts'
import { createTus } from '../http/tus/server.ts'
import type { Log } from '../log.ts'
import { UPLOAD_LEASE_SECONDS } from '../media/object/graces.ts'
import { createRenditionLinks } from '../media/renditions/links.ts'
import { createMetrics, type Metrics } from '../observe/metrics.ts'
import { createRequestLog } from '../observe/request-log.ts'
import type { Traces } from '../observe/traces.ts'
import { type Drainable, drainable } from './drain.ts'
import type { Service } from './service.ts'

export type Server = {
  fetch: Drainable['fetch']
  /** Starts what runs in the background. */
  start(): void
  /** Answers what is under way, then ends what runs in the background, and closes everything. */
  stop(): Promise<void>
  /** The token of whoever tries the service out; absent where there is a way to authenticate. */
  developmentToken: (() => Promise<string>) | undefined
  hasConsole: boolean
}

type Logs = {
  log: Log
  /** For lines that hold no secret: looking for one costs more than writing the line. */
  trusted: Log
}

// Within this, running requests end; with what follows it, the process ends within 10 seconds of SIGTERM.
const DRAIN_MS = 7000
const CLOSE_MS = 2000

export async function createServer(service: Service, config: Config, { log, trusted }: Logs): Promise<Server> {
  const { media, storage, relay, upkeep, liveEvents, jwtSecret, decoders } = service
  let phase: 'open' | 'stopping' | 'closing' = 'open'
  const stopping = () => phase !== 'open'
  const token = service.development && jwtSecret !== undefined ? () => developmentToken(jwtSecret) : undefined
  const hasConsole = config.http.console ?? service.development
  const uploadMemory = createUploadMemory(config.http.uploadMemoryBytes)
  const checks = { database: service.repository.check, storage: storage.check, events: service.events.check }
  const metrics = createMetrics({
    checks,
    backlog: service.repository.backlog,
    uploadMemory: { budget: config.http.uploadMemoryBytes, usage: uploadMemory.usage },
    temporary: service.tusStores.room,
    decoders,
    eventStreams: liveEvents.count,
    connections: { most: service.connections, wanted: queriesUnderWay },
    now: Date.now,
  })
  const traces = await openTraces(config, log)
  const app = createApp({
    media,
    authenticate: authenticateWith(config, jwtSecret, log),
    publicBaseUrl: config.http.publicBaseUrl,
    maxUploadBytes: config.media.maxUploadBytes,
    fileLimits: config.media,
    renditionLinks: createRenditionLinks({
      secret: service.linkSecret,
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
  const requests = drainable((request, peer) => app.fetch(request, { peer }))
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
      // What is not done by now is safe to leave: the next process takes it up.
      setTimeout(() => process.exit(0), CLOSE_MS)
      // Upkeep may wait for a picture: that is ended with it.
      await Promise.all([relay.stop(), upkeep.stop(), decoders.stop(CLOSE_MS / 2)])
      await Promise.all([service.close(), traces?.close()])
    },
    developmentToken: token,
    hasConsole,
  }
}

function authenticateWith({ auth }: Config, jwtSecret: string | undefined, log: Log) {
  const { jwksUrl, issuer, audience, gatewaySecret } = auth
  const jwks = jwksUrl === undefined ? undefined : createJwks({ url: jwksUrl, log })
  return createAuthenticate({ jwtSecret, jwks, issuer, audience, gatewaySecret })
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

/** Traces first: they know which trace the line in the log belongs to. */
function recorder(metrics: Metrics, traces: Traces | undefined, logRequest: ReturnType<typeof createRequestLog>) {
  return (record: Parameters<Metrics['request']>[0]) => {
    traces?.request(record)
    metrics.request(record)
    logRequest(record)
  }
}

/** Nothing of OpenTelemetry is loaded where it is not used. */
async function openTraces({ traces: { endpoint } }: Config, log: Log): Promise<Traces | undefined> {
  return endpoint === undefined ? undefined : (await import('../observe/traces.ts')).createTraces({ endpoint, log })
}
