import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expectNoSecrets } from '../http/secrets.ts'
import { repository } from '../repository.ts'
import { triedService } from '../tried.ts'
import { freePort } from './port.ts'
import { outputOf, runToEnd, tied } from './process.ts'

export type Runtime = 'bun' | 'deno'
export type Backend = 'real' | 'embedded'

export type RunningService = {
  /** Without a slash at the end. */
  baseUrl: string
  pid: number
  /** Everything it has written so far, stdout and stderr as they came. */
  logs(): string
  /** SIGTERM; resolves with the exit code once it has ended (143 when the signal ended it), by SIGKILL after 30 s. */
  stop(): Promise<number>
  /** SIGKILL; resolves once it has ended. */
  kill(): Promise<void>
}

/**
 * Starts the service as a process of its own on a free port of the loopback address and waits until
 * `GET /health/ready` answers 200 (90 s at most, for it may be one of many on a busy machine). Its environment is exactly `env`, PORT and HOST, and PATH, HOME and
 * TMPDIR of this process. Its working folder is `cwd`, else the repository; Deno finds its packages from there, so for
 * Deno it has to be inside the repository.
 * `stop` and `kill` throw when it has written a secret, a token or a link's signature.
 * @throws Error with the logs when it ends before it is ready, or is not ready in time
 */
export async function startService(options: {
  runtime: Runtime
  env: Record<string, string>
  cwd?: string
  /** The folder of the code, where it is another version's. */
  code?: string
}): Promise<RunningService> {
  const port = await freePort()
  const { PATH, HOME, TMPDIR } = process.env
  const child = Bun.spawn(tied(commandFor(options.runtime, port, options.code)), {
    cwd: options.cwd ?? repository,
    env: { PATH, HOME, TMPDIR, HOST: '127.0.0.1', PORT: String(port), ...options.env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const output = outputOf(child)
  let told = false
  const end = async (signal: NodeJS.Signals) => {
    told = true
    child.kill(signal)
    const code = await child.exited
    await output.ended
    expectNoSecrets(output.text(), options.env)
    if (options.code === undefined) triedService(service.baseUrl, output.text(), options.env)
    return code
  }
  const service: RunningService = {
    baseUrl: `http://127.0.0.1:${port}`,
    pid: child.pid,
    logs: output.text,
    async stop() {
      const ended = child.exitCode ?? child.signalCode
      if (ended !== null && !told) {
        await output.ended
        throw new Error(`The service ended by itself (${ended}):\n${output.text().slice(-4000)}`)
      }
      const inTime = new AbortController()
      const late = sleep(30_000, undefined, { signal: inTime.signal }).then(
        () => child.kill('SIGKILL'),
        () => {},
      )
      const code = await end('SIGTERM')
      inTime.abort()
      await late
      return code
    },
    async kill() {
      await end('SIGKILL')
    },
  }
  await untilReady(service, () => child.exitCode ?? child.signalCode)
  return service
}

/** One pass of upkeep by a process of its own, with exactly these settings. */
export function runUpkeep(env: Record<string, string>): Promise<void> {
  const { PATH = '', HOME = '' } = process.env
  const command = [process.execPath, '--no-env-file', 'src/cli/upkeep.ts']
  return runToEnd(command, { cwd: repository, env: { PATH, HOME, ...env } })
}

/** What the suite runs on: ACCEPTANCE_RUNTIME (`bun`, or `deno`) and ACCEPTANCE_BACKEND (`real`, or `embedded`). */
export function acceptanceRun(settings: Record<string, string | undefined> = process.env): {
  runtime: Runtime
  backend: Backend
} {
  const { ACCEPTANCE_RUNTIME: runtime = 'bun', ACCEPTANCE_BACKEND: backend = 'real' } = settings
  if (runtime !== 'bun' && runtime !== 'deno') throw new Error(`ACCEPTANCE_RUNTIME is bun or deno, not ${runtime}`)
  if (backend !== 'real' && backend !== 'embedded') {
    throw new Error(`ACCEPTANCE_BACKEND is real or embedded, not ${backend}`)
  }
  return { runtime, backend }
}

/** How the service is started with this runtime, from the folder of the repository. */
export function commandFor(runtime: Runtime, port: number, code = repository): string[] {
  const main = join(code, 'src', 'main.ts')
  // Without a developer's .env file: the tests alone say what the service is told.
  if (runtime === 'bun') return [process.execPath, '--no-env-file', main]
  return [
    denoBinary(),
    'serve',
    // Without it Deno prints a line about `Request.signal`, and aborts the signal of requests that ended well.
    '--unstable-no-legacy-abort',
    ...['--port', String(port), '--host', '127.0.0.1'],
    // What the service may do, ffi for sharp, and a shell that starts decoder processes within limits.
    ...['--allow-net', '--allow-env', '--allow-read', '--allow-write', '--allow-sys', '--allow-ffi', '--allow-run=sh'],
    // The lock file is Bun's; Deno would write one of its own.
    '--no-lock',
    main,
  ]
}

/** The npm package's own launcher needs Node and an install script; the binary for this platform is beside it. */
export function denoBinary(): string {
  const modules = join(repository, 'node_modules')
  const [binary] = new Bun.Glob('@deno/*/deno{,.exe}').scanSync(modules)
  if (!binary) throw new Error('No Deno in node_modules: run `bun install`')
  return join(modules, binary)
}

async function untilReady(service: RunningService, ended: () => number | string | null): Promise<void> {
  const deadline = Date.now() + 90_000
  for (;;) {
    const answer = await fetch(`${service.baseUrl}/health/ready`, { signal: AbortSignal.timeout(2_000) }).catch(String)
    if (typeof answer !== 'string') await answer.body?.cancel()
    if (ended() !== null) {
      await service.kill()
      throw new Error(`The service ended with ${ended()} before it was ready\n${service.logs()}`)
    }
    if (typeof answer !== 'string' && answer.status === 200) return
    if (Date.now() > deadline) {
      await service.kill()
      const last = typeof answer === 'string' ? answer : `${answer.status}`
      throw new Error(`The service was not ready within 90 s (/health/ready: ${last})\n${service.logs()}`)
    }
    await sleep(25)
  }
}
