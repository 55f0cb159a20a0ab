/**
 * The program of a decoder process. It reads tasks from standard input, one at a time, and writes an answer to each.
 * Decoding runs in threads of libvips; the JavaScript thread watches their memory and CPU time. The process opens no
 * connection and reads no file but its own modules.
 */
import { writeSync } from 'node:fs'
import process from 'node:process'
import { Problem } from '../problem.ts'
import type { Answer } from './answers.ts'
import type { DecodeTask } from './decoding.ts'
import { createFrameReader, frameStart } from './frames.ts'
import { checkLibvips, setUpLibvips } from './libvips.ts'
import { isOfLimits } from './limit-errors.ts'
import { isPixelLimit, MAX_DECODED_BYTES, MAX_RESULT_BYTES } from './limits.ts'
import { perform } from './tasks.ts'

const WATCH_MS = 100
const SMALL_BYTES = 128 * 1024
// Added to the limit where the process itself enforces it: resident memory includes pages of the runtime's executable.
const PROGRAM_BYTES = 64 * 1024 * 1024

const [memory = '', cpu = '', types = ''] = process.argv.slice(2)
const memoryBytes = Number(memory)
const allowedSeconds = Number(cpu)
const allowed = types.split(',')

setUpLibvips(allowed)
await checkLibvips(allowed)
process.stdin.on(
  'data',
  createFrameReader(MAX_DECODED_BYTES, (task, bytes) => {
    // The service wrote the task, so its shape is known.
    void answer(task as DecodeTask, bytes)
  }),
)
// The service has ended, or closed the pipe to end this process, even in the middle of a picture.
for (const end of ['end', 'close', 'error']) process.stdin.on(end, die)
write({ kind: 'ready', cpuSeconds: cpuSeconds() })

async function answer(task: DecodeTask, bytes: Uint8Array): Promise<void> {
  const begun = cpuSeconds()
  const watching = setInterval(() => watch(begun), WATCH_MS)
  try {
    const { bytes: made, ...result } = await perform(task, bytes)
    if (made !== undefined && made.length > MAX_RESULT_BYTES)
      throw new Problem('image_too_large', `The result has ${made.length} bytes.`)
    clearInterval(watching)
    const spent = await keepsMuch(task)
    write({ kind: 'done', cpuSeconds: cpuSeconds(), hasBytes: made !== undefined, spent, ...result }, made)
  } catch (error) {
    const kind = await kindOf(error, task, bytes)
    clearInterval(watching)
    write({ kind, cpuSeconds: cpuSeconds(), said: textOf(error) })
  }
}

/** Whether decoding has taken memory that this process cannot give back. */
async function keepsMuch({ mimeType }: DecodeTask): Promise<boolean> {
  return mimeType === 'image/heic' && (await import('./libheif.ts')).keepsMuch()
}

async function kindOf(error: unknown, task: DecodeTask, bytes: Uint8Array): Promise<'refused' | 'too-large' | 'limit'> {
  if (error instanceof Problem) return error.code === 'image_too_large' ? 'too-large' : 'refused'
  if (isPixelLimit(textOf(error))) return 'too-large'
  return (await isOfLimits(textOf(error), task, bytes, memoryBytes)) ? 'limit' : 'refused'
}

/** Enforces the limits where the system does not, as macOS does none on memory. */
function watch(begun: number): void {
  const resident = process.memoryUsage.rss()
  if (resident > memoryBytes + PROGRAM_BYTES) passed(`${resident} bytes resident`)
  const spent = cpuSeconds() - begun
  if (spent > allowedSeconds) passed(`${spent} seconds of CPU`)
}

function passed(said: string): never {
  writeSync(process.stdout.fd, frameStart({ kind: 'limit', cpuSeconds: cpuSeconds(), said } satisfies Answer, 0))
  return die()
}

function write(answer: Answer, body?: Uint8Array): void {
  const start = frameStart(answer, body?.length ?? 0)
  // At once, so that the service wakes up once; a large body is not copied.
  if (body !== undefined && body.length <= SMALL_BYTES) process.stdout.write(Buffer.concat([start, body]))
  else {
    process.stdout.write(start)
    if (body !== undefined) process.stdout.write(body)
  }
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

function textOf(error: unknown): string {
  return String(error instanceof Error ? error.message : error).slice(0, 2000)
}

/** Ends by SIGKILL, because `exit` waits for the decoding threads. */
function die(): never {
  process.kill(process.pid, 'SIGKILL')
  throw new Error('ended')
}
