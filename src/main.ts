/**
 * The composition root: settings → parts → app. Runs under `bun src/main.ts`, where the default export says where to
 * listen, and under `deno serve src/main.ts`, where the command line does.
 */
import process from 'node:process'
import { createAuthenticate } from './auth/auth.ts'
import { developmentToken } from './auth/development.ts'
import { createJwks } from './auth/jwks.ts'
import { openService, type Service } from './boot/domain.ts'
import { drainable, keepServing } from './boot/drain.ts'
import { portProblem } from './boot/port.ts'
import { welcome } from './boot/welcome.ts'
import { type Config, ConfigError, readConfig } from './config.ts'
import { queriesUnderWay } from './db/connect.ts'
import { createApp } from './http/app.ts'
import { createUploadMemory } from './http/body/memory.ts'
import { createLeaseLocker } from './http/tus/locker.ts'
import { createTus } from './http/tus/server.ts'
import { createLog, createTrustedLog, openLogOutput } from './log.ts'
import { createMedia } from './media/media.ts'
import { createLiveEvents } from './media/outbox/live-events.ts'
import { createRenditionLinks } from './media/renditions/links.ts'
import { UPLOAD_LEASE_SECONDS } from './media/table/tus.ts'
import { createInspect } from './media/uploads/inspect.ts'
import { createMetrics } from './observe/metrics.ts'
import { createRequestLog } from './observe/request-log.ts'
import type { Traces } from './observe/traces.ts'

// Within this, running requests end; with what follows it, the process ends within 10 seconds of SIGTERM.
const DRAIN_MS = 7000
const CLOSE_MS = 2000

const config = readOrExit()
const level = config.logLevel
const output = await openLogOutput()
const log = createLog({ level, output: output.now })
const trusted = createTrustedLog({ level, output: output.soon })
// Under `deno serve` its own --port decides.
if (process.versions.bun) await requirePort()
const service = await openOrExit()
const { repository, storage, disk, tusStores, events, relay, upkeep, probeImage, publicity, publish, decode } = service

const inspect = createInspect({ allowedTypes: config.allowedTypes, probeImage })
const media = createMedia({
  repository,
  storage,
  inspect,
  decode,
  relay,
  log,
  now: Date.now,
  limits: config,
  publicity,
  publish,
})
const { jwksUrl } = config.auth
const jwks = jwksUrl === undefined ? undefined : createJwks({ url: jwksUrl, log })
let stopping = false
let closing = false
const isStopping = () => stopping
const leases = media.tusLeases
const locker = createLeaseLocker({ leases, log, leaseMs: UPLOAD_LEASE_SECONDS * 1000, stopping: isStopping })
const liveEvents = createLiveEvents({ events })
const uploadMemory = createUploadMemory(config.uploadMemoryBytes)
const checks = { database: repository.check, storage: storage.check, events: events.check }
const metrics = createMetrics({
  checks,
  backlog: repository.backlog,
  uploadMemory: { budget: config.uploadMemoryBytes, usage: uploadMemory.usage },
  temporary: tusStores.room,
  decoders: service.decoders,
  eventStreams: liveEvents.count,
  connections: { most: service.connections, wanted: queriesUnderWay },
  now: Date.now,
})
const traces = await openTraces()
const { jwtSecret } = service
const token = service.development && jwtSecret !== undefined ? () => developmentToken(jwtSecret) : undefined
const hasConsole = config.console ?? service.development
const logRequest = createRequestLog({ log, trusted })
const app = createApp({
  media,
  authenticate: createAuthenticate({ ...config.auth, jwtSecret: service.jwtSecret, jwks }),
  publicBaseUrl: config.publicBaseUrl,
  maxUploadBytes: config.maxUploadBytes,
  fileLimits: config,
  renditionLinks: createRenditionLinks({
    secret: service.linkSecret,
    sizes: config.renditionSizes,
    seconds: config.signedUrlSeconds,
    now: Date.now,
  }),
  uploadMemory,
  limiter: service.limiter,
  trustedProxies: config.trustedProxies,
  console: hasConsole ? { storage, developmentToken: token, ...config } : undefined,
  corsOrigins: config.corsOrigins,
  liveEvents,
  checks,
  metrics,
  stopping: isStopping,
  closing: () => closing,
  disk,
  tus: createTus({ media, storage, stores: tusStores, locker, log, ...config }),
  onRequest(record) {
    // The first, for it knows which trace the line in the log belongs to.
    traces?.request(record)
    metrics.request(record)
    logRequest(record)
  },
})
const requests = drainable((request, peer) => app.fetch(request, { peer }))
relay.start()
upkeep.start(metrics.upkeep)
log.info({ ...service.found, runtime: runtimeOf(process.versions), defaults: config.defaults }, 'service: started')
process.once('SIGTERM', stop)
process.once('SIGINT', stop)
keepServing()
if (token !== undefined) await greet(token)

export default {
  port: config.port,
  hostname: config.host,
  fetch: requests.fetch,
  // The limits are our own: Bun's would answer with an empty body, and cut slow uploads.
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  idleTimeout: 255,
  development: false,
  // Without `development` Bun shares the port with every other process that asks for it (SO_REUSEPORT).
  reusePort: false,
}

async function stop(): Promise<void> {
  stopping = true
  liveEvents.stop()
  await requests.idle(DRAIN_MS)
  closing = true
  // What is not done by now is safe to leave: the next process takes it up.
  setTimeout(() => process.exit(0), CLOSE_MS)
  // Upkeep may wait for a picture: that is ended with it.
  await Promise.all([relay.stop(), upkeep.stop(), service.decoders.stop(CLOSE_MS / 2)])
  await Promise.all([service.close(), traces?.close()])
  process.exit(0)
}

function readOrExit(): Config {
  try {
    return readConfig()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    console.error(error.message)
    process.exit(1)
  }
}

async function requirePort(): Promise<void> {
  const problem = await portProblem(config.host, config.port)
  if (problem === undefined) return
  console.error(problem)
  process.exit(1)
}

async function openOrExit(): Promise<Service> {
  try {
    return await openService(config, log)
  } catch (error) {
    console.error(`The service cannot start: ${error instanceof Error ? error.message : error}`)
    if (error instanceof Error && error.cause instanceof Error) console.error(`  ${error.cause.message}`)
    process.exit(1)
  }
}

/** Nothing of OpenTelemetry is loaded where it is not used. */
async function openTraces(): Promise<Traces | undefined> {
  const { otlpEndpoint: endpoint } = config
  return endpoint === undefined ? undefined : (await import('./observe/traces.ts')).createTraces({ endpoint, log })
}

/** Its name and version, as `bun 1.4.5`. */
function runtimeOf({ bun, deno, node }: Record<string, string | undefined>): string {
  return bun ? `bun ${bun}` : deno ? `deno ${deno}` : `node ${node}`
}

/** Printed a moment later: the runtime listens when this module is done, and may find the port taken. */
async function greet(makeToken: () => Promise<string>): Promise<void> {
  const address = config.publicBaseUrl ?? `http://${config.host}:${config.port}`
  const text = welcome({ address, token: await makeToken(), hasConsole })
  setTimeout(() => console.log(text), 100)
}
