/** One decoder process: starts it, gives it one job at a time, and ends it. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import process from 'node:process'
import type { Readable, Writable } from 'node:stream'
import { type Answer, answerSchema } from './answers.ts'
import type { DecodeResult, DecodeSource, DecodeTask } from './decoding.ts'
import { createFrameReader, frameStart } from './frames.ts'
import { MAX_RESULT_BYTES } from './limits.ts'
import type { Start } from './start.ts'
import { cpuSecondsOf } from './system.ts'

export type JobLimits = {
  /** CPU time limit of one job. */
  cpuSeconds: number
  /** Wall-clock limits for reading the bytes, and for the whole job. */
  transferMs: number
  ms: number
}

/** How one job ended in one process. `lost`: the process ended for a reason other than the job. */
export type Attempt =
  | { kind: 'done'; result: DecodeResult }
  | { kind: 'refused' | 'too-large' | 'limit' | 'lost'; said: string }

export type DecoderProcess = {
  pid: number
  /** CPU time of the process as last reported, in seconds. */
  cpuSeconds(): number
  /** Number of jobs it was given. */
  jobs(): number
  /** Throws the error of reading the source. After any outcome but `done` and `too-large` the process has ended. */
  run(task: DecodeTask, source: DecodeSource, limits: JobLimits): Promise<Attempt>
  /** Sends SIGKILL to its process group; resolves once it has ended. */
  end(): Promise<void>
  /** Resolves once it has ended, for any reason. */
  ended: Promise<void>
}

const READY_MS = 20_000
const POLL_MS = 250
const MOST_STDERR_CHARACTERS = 2000
// Signals from outside. The service itself sends SIGKILL for a job's limits, which `reason` records.
const FROM_OUTSIDE = new Set<NodeJS.Signals>(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'])

/** Resolves when the process has passed its self-test; throws when it does not. */
export async function startProcess({ command, args, cwd, env }: Start): Promise<DecoderProcess> {
  // `detached` makes it a process group leader, so that a terminal's signal to the service does not reach it.
  const child = spawn(command, args, { cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
  const decoder = handle(child)
  const late = setTimeout(() => void decoder.end(), READY_MS)
  const first = await decoder.next().finally(() => clearTimeout(late))
  if (first.kind === 'ready') return decoder
  await decoder.end()
  throw new Error(`The decoder process did not start: ${'said' in first ? first.said : first.kind}`)
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>
type Message = (Answer & { body: Uint8Array }) | { kind: 'gone'; said: string; ofItsOwn: boolean }

function handle(child: Child): DecoderProcess & { next(): Promise<Message> } {
  const pid = child.pid ?? 0
  const messages: Message[] = []
  let gone: Extract<Message, { kind: 'gone' }> | undefined
  let awaited: ((message: Message) => void) | undefined
  let jobs = 0
  let cpuSeconds = 0
  let errors = ''
  /** Why the service ended it, if it did, and whether a limit of the job was the reason. */
  let reason: { said: string; limit: boolean } | undefined
  const { promise: ended, resolve: hasEnded } = Promise.withResolvers<void>()

  const deliver = (message: Message) => {
    if (awaited === undefined) messages.push(message)
    else awaited(message)
    awaited = undefined
  }
  const finish = (said: string, ofItsOwn: boolean) => {
    if (gone !== undefined) return
    gone = { kind: 'gone', said: reason?.said ?? said, ofItsOwn: reason?.limit ?? ofItsOwn }
    deliver(gone)
    hasEnded()
  }
  const kill = (why: typeof reason) => {
    reason ??= why
    if (gone === undefined) signal(child)
  }

  const push = createFrameReader(MAX_RESULT_BYTES, (header, body) => {
    const answer = answerSchema.parse(header)
    cpuSeconds = answer.cpuSeconds
    deliver({ ...answer, body })
  })
  child.stdout.on('data', (chunk: Uint8Array) => {
    try {
      push(chunk)
    } catch (error) {
      kill({ said: `it wrote what is no answer: ${error}`, limit: true })
    }
  })
  child.stderr.on('data', (chunk: Uint8Array) => {
    errors = (errors + new TextDecoder().decode(chunk)).slice(-MOST_STDERR_CHARACTERS)
  })
  // A pipe breaks when the process ends, which its exit reports.
  for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.on('error', () => {})
  child.on('error', (error) => finish(error.message, false))
  child.on('close', (code, by) =>
    finish(`it ended with ${by ?? code}. ${errors}`, by === null || !FROM_OUTSIDE.has(by)),
  )

  function next(): Promise<Message> {
    const message = messages.shift() ?? gone
    if (message !== undefined) return Promise.resolve(message)
    return new Promise((resolve) => {
      awaited = resolve
    })
  }

  async function send(task: DecodeTask, { sizeBytes, read }: DecodeSource, signal: AbortSignal): Promise<void> {
    await write(frameStart(task, sizeBytes))
    let sent = 0
    for await (const chunk of read(signal)) {
      sent += chunk.length
      if (sent > sizeBytes) break
      await write(chunk)
      if (gone !== undefined) return
    }
    if (sent !== sizeBytes) kill({ said: `the source gave ${sent} bytes of ${sizeBytes}`, limit: false })
  }

  async function write(chunk: Uint8Array): Promise<void> {
    if (gone !== undefined || child.stdin.write(chunk)) return
    const { promise: drained, resolve } = Promise.withResolvers<void>()
    child.stdin.once('drain', resolve)
    await Promise.race([drained, ended])
    child.stdin.off('drain', resolve)
  }

  /** RLIMIT_CPU covers all jobs of the process: the limit of one job is enforced here, and by the process itself. */
  function watchCpu(most: number): () => void {
    const begun = cpuSeconds
    let timer = setTimeout(look, (most * 1000) / 2)
    async function look() {
      const used = await cpuSecondsOf(pid)
      if (stopped || gone !== undefined) return
      if (used !== null && used - begun > most) kill({ said: `more than ${most} seconds of CPU`, limit: true })
      timer = setTimeout(look, POLL_MS)
    }
    let stopped = false
    return () => {
      stopped = true
      clearTimeout(timer)
    }
  }

  return {
    pid,
    ended,
    next,
    cpuSeconds: () => cpuSeconds,
    jobs: () => jobs,

    async run(task, source, limits) {
      jobs += 1
      const aborted = new AbortController()
      const unwatch = watchCpu(limits.cpuSeconds)
      const late = setTimeout(() => kill({ said: `more than ${limits.ms} ms`, limit: false }), limits.ms)
      const slow = setTimeout(() => kill({ said: 'its bytes came too slowly', limit: false }), limits.transferMs)
      const sending = send(task, source, aborted.signal).finally(() => clearTimeout(slow))
      try {
        const failed = sending.then(() => new Promise<never>(() => {}))
        return await settle(await Promise.race([next(), failed]))
      } catch (error) {
        kill({ said: 'the source could not be read', limit: false })
        await ended
        throw error
      } finally {
        clearTimeout(late)
        clearTimeout(slow)
        unwatch()
        aborted.abort()
        sending.catch(() => {})
      }
    },

    async end() {
      kill({ said: 'the service ended it', limit: false })
      await ended
    },
  }

  async function settle(message: Message): Promise<Attempt> {
    if (message.kind === 'gone') return { kind: message.ofItsOwn ? 'limit' : 'lost', said: message.said }
    if (message.kind === 'ready') return { kind: 'lost', said: 'it began anew' }
    if (message.kind === 'done') {
      const { width, height, placeholder, hasBytes, body } = message
      return { kind: 'done', result: { width, height, placeholder, bytes: hasBytes ? body : undefined } }
    }
    if (message.kind !== 'too-large') {
      kill({ said: message.said, limit: false })
      await ended
    }
    return { kind: message.kind, said: message.said }
  }
}

/**
 * Signals the group, or on Deno the process, which has no children: Deno signals groups only with full `--allow-run`.
 */
function signal(child: Child): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  } catch {
    child.kill('SIGKILL')
  }
}
