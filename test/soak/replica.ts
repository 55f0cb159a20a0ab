import { setTimeout as sleep } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'
import { freePort } from '../support/process/port.ts'
import { tied } from '../support/process/process.ts'
import { commandFor, type Runtime } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'

/** One service process after the other, all at the same address. */
export type Replica = {
  readonly baseUrl: string
  /** Of the process that runs; undefined when none does. */
  pid(): number | undefined
  /** Starts a process where none runs; resolves at once, so that it can be killed while it starts. */
  start(): void
  /** SIGKILL, wherever it is; resolves once it has ended. */
  kill(): Promise<void>
  /** SIGSTOP: it takes connections, and nothing answers. */
  pause(): void
  /** SIGTERM; resolves with the exit code once it has ended. */
  stop(): Promise<number>
  /** Starts it as often as it takes: what it stands on may be down so long that it gives up. */
  untilReady(): Promise<void>
  /** Problems of the kind that should never be logged, as the processes wrote them. */
  readonly faults: string[]
}

export async function createReplica(runtime: Runtime, env: Record<string, string>): Promise<Replica> {
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const { PATH, HOME, TMPDIR } = process.env
  const faults: string[] = []
  let child: Bun.Subprocess<'ignore', 'pipe', 'pipe'> | undefined
  const running = () => child !== undefined && child.exitCode === null && child.signalCode === null

  function start(): void {
    if (running()) return
    child = Bun.spawn(tied(commandFor(runtime, port)), {
      cwd: repository,
      env: { PATH, HOME, TMPDIR, HOST: '127.0.0.1', PORT: String(port), ...env },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    for (const stream of [child.stdout, child.stderr]) void collect(stream)
  }

  async function collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = ''
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      faults.push(...lines.filter((line) => isFault(stripVTControlCharacters(line))))
    }
  }

  return {
    baseUrl,
    pid: () => (running() ? child?.pid : undefined),
    faults,
    start,
    async kill() {
      if (!running()) return
      child?.kill('SIGKILL')
      await child?.exited
    },
    pause() {
      child?.kill('SIGSTOP')
    },
    async stop() {
      child?.kill('SIGTERM')
      return (await child?.exited) ?? 0
    },
    async untilReady() {
      const end = Date.now() + 60_000
      for (;;) {
        start()
        const answer = await fetch(`${baseUrl}/health/ready`, { signal: AbortSignal.timeout(3000) }).catch(() => null)
        await answer?.body?.cancel()
        if (answer?.status === 200) return
        if (Date.now() > end) throw new Error(`${baseUrl} does not become ready`)
        await sleep(50)
      }
    },
  }
}

/** Lines that are no JSON are from the runtime itself, as when the process ends by an error that nobody caught. */
function isFault(line: string): boolean {
  if (line.startsWith('{')) return line.includes('"code":"internal"')
  // What Bun and Deno say when they listen, and what the service says when what it stands on stays away too long.
  return !/^(Started server:|Listening on|deno serve:|The service cannot start:| {2}\S)|^$/.test(line)
}
