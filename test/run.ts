import { join } from 'node:path'
import { inCi } from './ci.ts'
import { type Count, countTests } from './counting.ts'
import { signalTree, tied } from './process.ts'
import { type Services, ServicesMissing, settingsOf, startServices } from './services/services.ts'

type Stage = {
  name: string
  command: string[]
  /** How it counts: a set-up only when it fails, a check as one test, a test run as its tests. */
  counts: 'failure' | 'one' | 'tests'
  /** `wanted`: its tests see for themselves to what is missing. `needed`: it is pointless without. */
  services?: 'wanted' | 'needed'
  env?: Record<string, string>
}

const bun = process.execPath
const acceptance = [bun, 'test', 'test/acceptance']
const faults = [bun, 'test', 'test/faults']
const fuzz = [bun, 'test', 'test/fuzz']
const schemathesis = [bun, 'test', 'test/schemathesis']
// Folders that have a stage of their own.
const apart = [
  'test/acceptance/**',
  'test/browser/**',
  'test/faults/**',
  'test/fuzz/**',
  'test/promises/**',
  'test/schemathesis/**',
  'test/soak/**',
]

const stages: Stage[] = [
  { name: 'setup', command: [bun, 'test/setup.ts'], counts: 'failure' },
  { name: 'types', command: [bun, 'run', 'typecheck'], counts: 'one' },
  { name: 'lint', command: [bun, 'run', 'lint'], counts: 'one' },
  {
    name: 'unit',
    command: [bun, 'test', ...apart.flatMap((pattern) => ['--path-ignore-patterns', pattern])],
    counts: 'tests',
    services: 'wanted',
  },
  { name: 'promises', command: [bun, 'test', 'test/promises'], counts: 'tests', services: 'wanted' },
  {
    name: 'acceptance-bun',
    command: acceptance,
    counts: 'tests',
    services: 'needed',
    env: { ACCEPTANCE_RUNTIME: 'bun', ACCEPTANCE_BACKEND: 'real' },
  },
  {
    name: 'acceptance-deno',
    command: acceptance,
    counts: 'tests',
    services: 'needed',
    env: { ACCEPTANCE_RUNTIME: 'deno', ACCEPTANCE_BACKEND: 'real' },
  },
  {
    name: 'acceptance-embedded',
    command: acceptance,
    counts: 'tests',
    env: { ACCEPTANCE_RUNTIME: 'bun', ACCEPTANCE_BACKEND: 'embedded' },
  },
  {
    name: 'faults-bun',
    command: faults,
    counts: 'tests',
    services: 'needed',
    env: { ACCEPTANCE_RUNTIME: 'bun' },
  },
  {
    name: 'faults-deno',
    command: faults,
    counts: 'tests',
    services: 'needed',
    env: { ACCEPTANCE_RUNTIME: 'deno' },
  },
  { name: 'fuzz-bun', command: fuzz, counts: 'tests', services: 'needed', env: { ACCEPTANCE_RUNTIME: 'bun' } },
  { name: 'fuzz-deno', command: fuzz, counts: 'tests', services: 'needed', env: { ACCEPTANCE_RUNTIME: 'deno' } },
  {
    name: 'schemathesis-bun',
    command: schemathesis,
    counts: 'tests',
    services: 'needed',
    env: { ACCEPTANCE_RUNTIME: 'bun' },
  },
  {
    name: 'schemathesis-deno',
    command: schemathesis,
    counts: 'tests',
    services: 'needed',
    env: { ACCEPTANCE_RUNTIME: 'deno' },
  },
  { name: 'soak', command: [bun, 'test', 'test/soak'], counts: 'tests', services: 'needed' },
  { name: 'browser', command: [bun, 'test', 'test/browser'], counts: 'tests', services: 'needed' },
]

const repository = join(import.meta.dir, '..')
const interruption = new AbortController()

for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
  process.on(signal, () => {
    interruption.abort()
    process.exitCode = code
  })
}
await run(chosen(process.argv.slice(2)))

/** Runs the stages one after the other, whatever fails, and ends with `N passed, N failed` as the last line. */
async function run(selected: Stage[]): Promise<void> {
  const total: Count = { passed: 0, failed: 0, skipped: 0 }
  let services: Services | undefined
  let trouble: unknown
  try {
    for (const stage of selected) {
      if (interruption.signal.aborted) break
      if (stage.services && !services && !trouble) {
        services = await startServices().catch((error) => {
          trouble = error
          return undefined
        })
        if (trouble) console.error(`\n*** NO SERVICES for the tests. ${trouble}\n`)
      }
      add(total, await perform(stage, services, trouble))
    }
  } finally {
    await services?.stop()
  }
  if (interruption.signal.aborted) return
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
  console.log(`\n${total.passed} passed, ${total.failed} failed${skipped}`)
  process.exitCode = total.failed > 0 ? 1 : 0
}

/** Those whose name contains one of the words given on the command line; all of them without any. */
function chosen(words: string[]): Stage[] {
  const unknown = words.filter((word) => !stages.some((stage) => stage.name.includes(word)))
  if (unknown.length > 0) {
    throw new Error(`No stage called ${unknown.join(', ')}; there are ${stages.map((stage) => stage.name).join(', ')}`)
  }
  return stages.filter((stage) => words.length === 0 || words.some((word) => stage.name.includes(word)))
}

async function perform(stage: Stage, services: Services | undefined, trouble: unknown): Promise<Count> {
  if (stage.services === 'needed' && !services) {
    const atHome = trouble instanceof ServicesMissing && !inCi()
    console.error(`*** ${stage.name}: ${atHome ? 'SKIPPED' : 'FAILED'}, it needs services`)
    return { passed: 0, failed: atHome ? 0 : 1, skipped: atHome ? 1 : 0 }
  }
  console.log(`\n=== ${stage.name}`)
  const start = performance.now()
  const { exitCode, stderr } = await stream(stage.command, {
    ...(stage.services && services && settingsOf(services)),
    ...stage.env,
  })
  const count = countOf(stage, exitCode, stderr)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`=== ${stage.name}: ${count.failed > 0 ? 'FAILED' : 'ok'} in ${seconds} s`)
  return count
}

/** Runs a command with its output passed on as it comes, and keeps what it wrote to stderr. */
async function stream(command: string[], env: Record<string, string>): Promise<{ exitCode: number; stderr: string }> {
  const child = Bun.spawn(tied(command), {
    cwd: repository,
    env: { ...process.env, ...(process.stderr.isTTY && { FORCE_COLOR: '1' }), ...env },
    stdin: 'ignore',
    stdout: 'inherit',
    stderr: 'pipe',
  })
  const end = () => signalTree(child.pid, 'SIGTERM')
  interruption.signal.addEventListener('abort', end)
  let stderr = ''
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    stderr += text
    process.stderr.write(text)
  }
  const exitCode = await child.exited
  interruption.signal.removeEventListener('abort', end)
  return { exitCode, stderr }
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
