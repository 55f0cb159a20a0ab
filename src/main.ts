/**
 * Settings → ports → domain → server. Runs under `bun src/main.ts`, where the default export says where to listen, and
 * under `deno serve src/main.ts`, where the command line does.
 */
import process from 'node:process'
import { keepServing } from './boot/drain.ts'
import { exitOn, exitOnSignals, readOrExit } from './boot/exit.ts'
import { requirePort, whenListening } from './boot/listening.ts'
import { createServer } from './boot/server.ts'
import { openService } from './boot/service.ts'
import { greet } from './boot/welcome.ts'
import { createLog, createTrustedLog, openLogOutput } from './log.ts'

const started = exitOnSignals()
const config = readOrExit()
const { level } = config.log
const output = await openLogOutput()
const log = createLog({ level, output: output.now })
// Under `deno serve` its own --port decides.
if (process.versions.bun) await requirePort(config.listen)
const service = await exitOn(() => openService(config, log))
const logs = { log, trusted: createTrustedLog({ level, output: output.soon }) }
const server = await exitOn(() => createServer(service, config, logs))
started()
process.once('SIGTERM', stop)
process.once('SIGINT', stop)
keepServing()
whenListening(config.listen, async () => {
  server.start()
  log.info({ ...service.found, runtime: runtimeOf(process.versions), defaults: config.defaults }, 'service: started')
  await greet(config, server)
})

export default {
  hostname: config.listen.host,
  port: config.listen.port,
  fetch: server.fetch,
  // The limits are our own: Bun's would answer with an empty body, and cut slow uploads.
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  idleTimeout: 255,
  development: false,
  // Without `development` Bun shares the port with every other process that asks for it (SO_REUSEPORT).
  reusePort: false,
}

async function stop(): Promise<void> {
  await server.stop()
  process.exit(0)
}

/** Its name and version, as `bun 1.4.5`. */
function runtimeOf({ bun, deno, node }: Record<string, string | undefined>): string {
  return bun ? `bun ${bun}` : deno ? `deno ${deno}` : `node ${node}`
}
