import { cp, mkdir, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import pLimit, { type LimitFunction } from 'p-limit'
import { type Count, countTests } from './counting.ts'
import { differences, NOTES, PAGE, withTried } from './infrastructure.ts'
import { type Stage, stages } from './stages.ts'
import { inCi } from './support/process/ci.ts'
import { signalTree, tied } from './support/process/process.ts'
import { repository } from './support/repository.ts'
import { createFolder } from './support/services/folder.ts'
import {
  type Services,
  ServicesMissing,
  settingsOf,
  startServices,
  withoutServices,
} from './support/services/services.ts'
import { readTried } from './support/tried.ts'

const interruption = new AbortController()

for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
  process.on(signal, () => {
    interruption.abort()
    process.exitCode = code
  })
}
await run(chosen(process.argv.slice(2)))

/**
 * Runs the stages, two at a time on two cores, whatever fails, and ends with `N passed, N failed` as the last line. What
 * they write comes out stage by stage: that of the first one still at work as it comes, that of the others in its turn.
 */
async function run(selected: Stage[]): Promise<void> {
  const total: Count = { passed: 0, failed: 0, skipped: 0 }
  const atOnce = pLimit(Math.max(2, availableParallelism()))
  let services: Services | undefined
  let trouble: unknown
  // Killed in the middle, a service cannot take its temporary files with it.
  const temporary = await createFolder()
  process.env.TMPDIR = temporary.path
  const notes = join(temporary.path, 'tried')
  await mkdir(notes)
  process.env.TRIED_FOLDER = notes
  try {
    // Set-up comes first, alone: it installs what the others, and the services, are run with.
    const rest = selected.filter(({ name }) => name !== 'setup')
    for (const stage of selected) if (!rest.includes(stage)) add(total, await shown(begin(stage, undefined, undefined)))
    if (rest.some((stage) => stage.services) && !withoutServices() && !interruption.signal.aborted) {
      services = await startServices().catch((error) => {
        trouble = error
        return undefined
      })
      if (trouble) console.error(`\n*** NO SERVICES for the tests. ${trouble}\n`)
    }
    const running = rest.map((stage) => begin(stage, services, trouble, atOnce))
    for (const one of running) add(total, await shown(one))
    if (selected.length === stages.length && services && !interruption.signal.aborted)
      add(total, await comparePage(notes))
  } finally {
    await services?.stop()
    await temporary.remove()
  }
  if (interruption.signal.aborted) return
  if (total.skipped > 0) console.log(`\n${total.skipped} skipped`)
  console.log(`\n${total.passed} passed, ${total.failed} failed`)
  process.exitCode = total.failed > 0 ? 1 : 0
}

/** Whether docs/infrastructure.md has exactly the rows of what this complete run has run on. */
async function comparePage(notes: string): Promise<Count> {
  await rm(NOTES, { recursive: true, force: true })
  await cp(notes, NOTES, { recursive: true })
  const page = await Bun.file(PAGE).text()
  const { lacks, invents } = differences(page, withTried(page, readTried(notes)))
  // At home, what is not installed is not run.
  const wrong = [...lacks.map((row) => `lacks ${row}`), ...(inCi() ? invents : []).map((row) => `invents ${row}`)]
  for (const line of wrong) console.log(`*** docs/infrastructure.md ${line}`)
  if (wrong.length > 0) console.log('*** `bun test/infrastructure.ts` writes it from this run.')
  return { passed: wrong.length === 0 ? 1 : 0, failed: wrong.length === 0 ? 0 : 1, skipped: 0 }
}

/** Those whose name contains one of the words given on the command line; all of them without any. */
function chosen(words: string[]): Stage[] {
  const unknown = words.filter((word) => !stages.some((stage) => stage.name.includes(word)))
  if (unknown.length > 0) {
    throw new Error(`No stage called ${unknown.join(', ')}; there are ${stages.map((stage) => stage.name).join(', ')}`)
  }
  return stages.filter((stage) => words.length === 0 || words.some((word) => stage.name.includes(word)))
}

type Running = { output: ReadableStream<string>; count: Promise<Count> }

/** Has a stage run when its turn comes; its output waits until somebody reads it. */
function begin(stage: Stage, services: Services | undefined, trouble: unknown, turn?: LimitFunction): Running {
  let count = Promise.resolve<Count>({ passed: 0, failed: 0, skipped: 0 })
  const output = new ReadableStream<string>({
    start(controller) {
      const work = () => perform(stage, services, trouble, (text) => controller.enqueue(text))
      count = (turn ? turn(work) : work()).finally(() => controller.close())
    },
  })
  return { output, count }
}

async function shown({ output, count }: Running): Promise<Count> {
  for await (const text of output) process.stdout.write(text)
  return count
}

async function perform(
  stage: Stage,
  services: Services | undefined,
  trouble: unknown,
  write: (text: string) => void,
): Promise<Count> {
  if (interruption.signal.aborted) return { passed: 0, failed: 0, skipped: 0 }
  if (stage.services === 'needed' && !services) {
    const atHome = trouble instanceof ServicesMissing && !inCi()
    write(`*** ${stage.name}: ${atHome ? 'SKIPPED' : 'FAILED'}, it needs services\n`)
    return { passed: 0, failed: atHome ? 0 : 1, skipped: atHome ? 1 : 0 }
  }
  write(`\n=== ${stage.name}\n`)
  const start = performance.now()
  const env = { ...(stage.services && services && settingsOf(services)), ...stage.env }
  // The set-up may have a question for the person at the terminal.
  const stdin = stage.name === 'setup' ? 'inherit' : 'ignore'
  const { exitCode, stderr, cpuSeconds } = await stream(stage.command, { env, stdin }, write)
  const count = countOf(stage, exitCode, stderr)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  write(`=== ${stage.name}: ${count.failed > 0 ? 'FAILED' : 'ok'} in ${seconds} s, ${cpuSeconds.toFixed(0)} s of CPU\n`)
  return count
}

/** Runs a command with its output passed on as it comes, and keeps what it wrote to stderr. */
async function stream(
  command: string[],
  { env, stdin }: { env: Record<string, string>; stdin: 'inherit' | 'ignore' },
  write: (text: string) => void,
): Promise<{ exitCode: number; stderr: string; cpuSeconds: number }> {
  const child = Bun.spawn(tied(command), {
    cwd: repository,
    env: { ...process.env, ...(process.stdout.isTTY && { FORCE_COLOR: '1' }), ...env },
    stdin,
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const end = () => signalTree(child.pid, 'SIGTERM')
  interruption.signal.addEventListener('abort', end)
  let stderr = ''
  const read = async (from: typeof child.stdout, keep: (text: string) => void) => {
    for await (const text of from.pipeThrough(new TextDecoderStream())) {
      keep(text)
      write(text)
    }
  }
  await Promise.all([
    read(child.stdout, () => {}),
    read(child.stderr, (text) => {
      stderr += text
    }),
  ])
  const exitCode = await child.exited
  interruption.signal.removeEventListener('abort', end)
  // With what it has waited for: its services, not those that all stages share.
  const cpuSeconds = Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1e6
  return { exitCode, stderr, cpuSeconds }
}

function countOf(stage: Stage, exitCode: number, stderr: string): Count {
  if (stage.counts === 'tests') return countTests(exitCode, stderr)
  if (exitCode !== 0) return { passed: 0, failed: 1, skipped: 0 }
  return { passed: stage.counts === 'one' ? 1 : 0, failed: 0, skipped: 0 }
}

function add(total: Count, count: Count): void {
  total.passed += count.passed
  total.failed += count.failed
  total.skipped += count.skipped
}
