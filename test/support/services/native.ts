import { closeSync, openSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { runningOf, signalTree, tied, waitUntilGone } from '../process/process.ts'

/** What a test can do to a running service. Every promise resolves when the thing has been done, not begun. */
export type ServiceControl = {
  /** Where it listens; stays the same over every restart. */
  readonly url: string
  /** The process of the newest start; undefined in a container. */
  readonly pid: number | undefined
  /** Starts it again, same port and same data, and waits until it answers. */
  start(): Promise<void>
  /** Shuts it down in order. Does nothing when it does not run. */
  stop(): Promise<void>
  /** SIGKILL to all of its processes. */
  kill(): Promise<void>
  /** SIGSTOP to all of its processes: connections stay open and nobody answers. */
  pause(): Promise<void>
  resume(): Promise<void>
}

export type NativeService = {
  name: string
  url: string
  command: string[]
  /** Its own folder, where it runs and where `log` and `pid` are written. */
  folder: string
  env?: Record<string, string>
  user?: string
  stopSignal: NodeJS.Signals
  deathSignal?: 'KILL' | 'QUIT'
  /** Rejects as long as the service does not answer. */
  answers: () => Promise<void>
  /** Frees what a SIGKILL leaves behind in the kernel. */
  afterKill?: () => Promise<void>
}

/** Starts a service of this machine and waits until it answers (30 s at most; its log is in the error otherwise). */
export async function startNative(service: NativeService): Promise<ServiceControl> {
  let child = await launch(service)
  const running = () => child.exitCode === null && child.signalCode === null

  async function kill(): Promise<void> {
    if (!running()) return
    await waitUntilGone(signalTree(child.pid, 'SIGKILL'))
    await child.exited
    await rm(pidFile(service), { force: true })
    await service.afterKill?.()
  }

  async function stop(): Promise<void> {
    if (!running()) return
    // In case it is paused: it could not act on the signal.
    signalTree(child.pid, 'SIGCONT')
    child.kill(service.stopSignal)
    const ended = await Promise.race([child.exited.then(() => true), sleep(10_000, false, { ref: false })])
    if (!ended) {
      await kill()
      throw new Error(`${service.name} did not stop within 10 s\n${await logOf(service)}`)
    }
    await rm(pidFile(service), { force: true })
  }

  return {
    url: service.url,
    get pid() {
      return child.pid
    },
    async start() {
      if (!running()) child = await launch(service)
    },
    stop,
    kill,
    async pause() {
      signalTree(child.pid, 'SIGSTOP')
    },
    async resume() {
      signalTree(child.pid, 'SIGCONT')
    },
  }
}

/** Asks until the service answers or the time is over. */
export async function untilAnswers(answers: () => Promise<void>, milliseconds: number): Promise<void> {
  const deadline = Date.now() + milliseconds
  for (;;) {
    try {
      return await answers()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await sleep(20)
    }
  }
}

async function launch(service: NativeService): Promise<Bun.Subprocess> {
  const log = openSync(join(service.folder, 'log'), 'a')
  const child = Bun.spawn(
    tied(service.command, {
      ...(service.user && { user: service.user }),
      ...(service.deathSignal && { signal: service.deathSignal }),
    }),
    {
      cwd: service.folder,
      env: { PATH: process.env.PATH, TZ: 'UTC', ...service.env },
      stdin: 'ignore',
      stdout: log,
      stderr: log,
      // A session of its own: Ctrl-C in the terminal is for the runner, which then stops its services in order.
      detached: true,
    },
  )
  closeSync(log)
  await writeFile(pidFile(service), `${child.pid}\n`)
  try {
    await Promise.race([untilAnswers(service.answers, 30_000), failWhenEnded(service, child)])
  } catch (error) {
    if (runningOf([child.pid]).length > 0) await waitUntilGone(signalTree(child.pid, 'SIGKILL'))
    await rm(pidFile(service), { force: true })
    throw new Error(`${service.name} does not start: ${String(error)}\n${await logOf(service)}`, { cause: error })
  }
  return child
}

async function failWhenEnded(service: NativeService, child: Bun.Subprocess): Promise<never> {
  throw new Error(`${service.command[0]} ended with ${await child.exited}`)
}

async function logOf(service: NativeService): Promise<string> {
  return (await readFile(join(service.folder, 'log'), 'utf8')).slice(-4_000)
}

function pidFile(service: NativeService): string {
  return join(service.folder, 'pid')
}
