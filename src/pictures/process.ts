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
  /** Whether it keeps so much memory that it should be given no other job. */
  isSpent(): boolean
  /**
   * After any outcome but `done` and `too-large` the process has ended.
   * @throws the error of reading the source
   */
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
  const known = listenTo(spawn(command, args, { cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] }))
  const late = setTimeout(() => void end(known), READY_MS)
  const first = await nextMessage(known).finally(() => clearTimeout(late))
  if (first.kind !== 'ready') {
    await end(known)
    throw new Error(`The decoder process did not start: ${'said' in first ? first.said : first.kind}`)
  }
  return {
    pid: known.child.pid ?? 0,
    ended: known.ended,
    cpuSeconds: () => known.cpuSeconds,
    jobs: () => known.jobs,
    isSpent: () => known.spent,
    run: (task, source, limits) => run(known, { task, source, limits }),
    end: () => end(known),
  }
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>
type Gone = { kind: 'gone'; said: string; ofItsOwn: boolean }
type Message = (Answer & { body: Uint8Array }) | Gone
type Job = { task: DecodeTask; source: DecodeSource; limits: JobLimits }

/** What is known of a process. */
type Known = {
  child: Child
  /** Messages that nobody has awaited yet. */
  messages: Message[]
  awaited: ((message: Message) => void) | undefined
  gone: Gone | undefined
  /** Why the service ended it, if it did, and whether a limit of the job was the reason. */
  reason: { said: string; limit: boolean } | undefined
  jobs: number
  spent: boolean
  cpuSeconds: number
  errors: string
  ended: Promise<void>
  hasEnded: () => void
}

function listenTo(child: Child): Known {
  const { promise: ended, resolve: hasEnded } = Promise.withResolvers<void>()
  const unknown = { awaited: undefined, gone: undefined, reason: undefined }
  const known: Known = {
    child,
    messages: [],
    ...unknown,
    jobs: 0,
    spent: false,
    cpuSeconds: 0,
    errors: '',
    ended,
    hasEnded,
  }
  const push = createFrameReader(MAX_RESULT_BYTES, (header, body) => {
    const answer = answerSchema.parse(header)
    known.cpuSeconds = answer.cpuSeconds
    deliver(known, { ...answer, body })
  })
  child.stdout.on('data', (chunk: Uint8Array) => {
    try {
      push(chunk)
    } catch (error) {
      kill(known, { said: `it wrote what is no answer: ${error}`, limit: true })
    }
  })
  child.stderr.on('data', (chunk: Uint8Array) => {
    known.errors = (known.errors + new TextDecoder().decode(chunk)).slice(-MOST_STDERR_CHARACTERS)
  })
  // A pipe breaks when the process ends, which its exit reports.
  for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.on('error', () => {})
  child.on('error', (error) => finish(known, error.message, false))
  child.on('close', (code, by) =>
    finish(known, `it ended with ${by ?? code}. ${known.errors}`, by === null || !FROM_OUTSIDE.has(by)),
  )
  return known
}

function deliver(known: Known, message: Message): void {
  if (known.awaited === undefined) known.messages.push(message)
  else known.awaited(message)
  known.awaited = undefined
}

function finish(known: Known, said: string, ofItsOwn: boolean): void {
  if (known.gone !== undefined) return
  const { reason } = known
  known.gone = { kind: 'gone', said: reason?.said ?? said, ofItsOwn: reason?.limit ?? ofItsOwn }
  deliver(known, known.gone)
  known.hasEnded()
}

function kill(known: Known, why: Known['reason']): void {
  known.reason ??= why
  if (known.gone === undefined) signal(known.child)
}

async function end(known: Known): Promise<void> {
  kill(known, { said: 'the service ended it', limit: false })
  await known.ended
}

function nextMessage(known: Known): Promise<Message> {
  const message = known.messages.shift() ?? known.gone
  if (message !== undefined) return Promise.resolve(message)
  return new Promise((resolve) => {
    known.awaited = resolve
  })
}

async function run(known: Known, { task, source, limits }: Job): Promise<Attempt> {
  known.jobs += 1
  const aborted = new AbortController()
  const unwatch = watchCpu(known, limits.cpuSeconds)
  const late = setTimeout(() => kill(known, { said: `more than ${limits.ms} ms`, limit: false }), limits.ms)
  const slow = setTimeout(() => kill(known, { said: 'its bytes came too slowly', limit: false }), limits.transferMs)
  const sending = send(known, task, source, aborted.signal).finally(() => clearTimeout(slow))
  try {
    const failed = sending.then(() => new Promise<never>(() => {}))
    return await settle(known, await Promise.race([nextMessage(known), failed]))
  } catch (error) {
    kill(known, { said: 'the source could not be read', limit: false })
    await known.ended
    throw error
  } finally {
    clearTimeout(late)
    clearTimeout(slow)
    unwatch()
    aborted.abort()
    sending.catch(() => {})
  }
}

/** RLIMIT_CPU covers all jobs of the process: the limit of one job is enforced here, and by the process itself. */
function watchCpu(known: Known, most: number): () => void {
  const begun = known.cpuSeconds
  let stopped = false
  let timer = setTimeout(look, (most * 1000) / 2)
  async function look() {
    const used = await cpuSecondsOf(known.child.pid ?? 0)
    if (stopped || known.gone !== undefined) return
    if (used !== null && used - begun > most) kill(known, { said: `more than ${most} seconds of CPU`, limit: true })
    timer = setTimeout(look, POLL_MS)
  }
  return function unwatch() {
    stopped = true
    clearTimeout(timer)
  }
}

async function send(known: Known, task: DecodeTask, source: DecodeSource, signal: AbortSignal): Promise<void> {
  const { sizeBytes, read } = source
  await write(known, frameStart(task, sizeBytes))
  let sent = 0
  for await (const chunk of read(signal)) {
    sent += chunk.length
    if (sent > sizeBytes) break
    await write(known, chunk)
    if (known.gone !== undefined) return
  }
  if (sent !== sizeBytes) kill(known, { said: `the source gave ${sent} bytes of ${sizeBytes}`, limit: false })
}

async function write({ child, gone, ended }: Known, chunk: Uint8Array): Promise<void> {
  if (gone !== undefined || child.stdin.write(chunk)) return
  const { promise: drained, resolve } = Promise.withResolvers<void>()
  child.stdin.once('drain', resolve)
  await Promise.race([drained, ended])
  child.stdin.off('drain', resolve)
}

async function settle(known: Known, message: Message): Promise<Attempt> {
  if (message.kind === 'gone') return { kind: message.ofItsOwn ? 'limit' : 'lost', said: message.said }
  if (message.kind === 'ready') return { kind: 'lost', said: 'it began anew' }
  if (message.kind === 'done') {
    known.spent = message.spent
    const { width, height, placeholder, hasBytes, body } = message
    return { kind: 'done', result: { width, height, placeholder, bytes: hasBytes ? body : undefined } }
  }
  if (message.kind !== 'too-large') {
    kill(known, { said: message.said, limit: false })
    await known.ended
  }
  return { kind: message.kind, said: message.said }
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
