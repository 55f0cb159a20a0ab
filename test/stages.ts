/** The stages of the test command: which of them proves what, and on which runtime and backend. */
import { ANY_BACKEND, ANY_RUNTIME, acceptanceFilesBut, RUNTIME_FAULTS, sharesService } from './matrix.ts'

export type Stage = {
  name: string
  command: string[]
  /** How it counts: a set-up only when it fails, a check as one test, a test run as its tests. */
  counts: 'failure' | 'one' | 'tests'
  /** `wanted`: its tests see for themselves to what is missing. `needed`: it is pointless without. */
  services?: 'wanted' | 'needed'
  env?: Record<string, string>
}

const bun = process.execPath
// Thousands of tests that passed would bury the one that did not.
const tests = [bun, 'test', '--only-failures']
// Several files at a time: much of this waits for time-outs. Modules stay loaded from one file to the next, as in one run.
const sideBySide = (files: number) => [...tests, `--parallel=${files}`, '--no-isolate', '--timeout=90000']
// What is handed out: the client's tarball, the image's packages, what the README and the examples run.
const packages = [
  'test/client/package.test.ts',
  'test/image.test.ts',
  'test/readme-commands.test.ts',
  'test/examples/consumer.test.ts',
]
// Decoder processes at their limits, on the largest pictures: what takes most CPU of all that needs no service.
const decoding = ['test/pictures/limits.test.ts', 'test/pictures/processes.test.ts']
// Files that have a stage of their own.
const apart = [
  ...packages,
  ...decoding,
  'test/acceptance/**',
  'test/browser/**',
  'test/faults/**',
  'test/fuzz/**',
  'test/hostile/**',
  'test/image/**',
  'test/promises/**',
  'test/schemathesis/**',
  'test/soak/**',
]

const onBun = { ACCEPTANCE_RUNTIME: 'bun', ACCEPTANCE_BACKEND: 'real' }
const onDeno = { ACCEPTANCE_RUNTIME: 'deno', ACCEPTANCE_BACKEND: 'real' }
const embedded = { ACCEPTANCE_RUNTIME: 'bun', ACCEPTANCE_BACKEND: 'embedded' }

/** A stage of tests of running services. */
const running = (name: string, command: string[], env?: Record<string, string>): Stage => ({
  ...{ name, command, counts: 'tests' },
  ...(env !== embedded && { services: 'needed' }),
  ...(env && { env }),
})

/**
 * In two: files that share one service, one after the other, and files that start their own, side by side, since they
 * wait for what takes time.
 */
function acceptance(name: string, files: string[], env: Record<string, string>): Stage[] {
  const own = files.filter((file) => !sharesService(file))
  return [
    running(`acceptance-${name}-own`, [...sideBySide(2), ...own], env),
    running(`acceptance-${name}-shared`, [...tests, ...files.filter(sharesService)], env),
  ]
}

/** Those that wait much come first, so that those that compute much fill their pauses. */
export const stages: Stage[] = [
  { name: 'setup', command: [bun, 'test/setup.ts'], counts: 'failure' },
  { name: 'types', command: [bun, 'run', 'typecheck'], counts: 'one' },
  { name: 'lint', command: [bun, 'run', 'lint'], counts: 'one' },
  {
    name: 'unit',
    command: [...sideBySide(2), ...apart.flatMap((pattern) => ['--path-ignore-patterns', pattern])],
    counts: 'tests',
    services: 'wanted',
  },
  { name: 'decoding', command: [...sideBySide(2), ...decoding], counts: 'tests' },
  { name: 'packages', command: [...sideBySide(2), ...packages], counts: 'tests', services: 'wanted' },
  {
    name: 'promises',
    command: [...sideBySide(2), 'test/promises'],
    counts: 'tests',
    services: 'wanted',
    // Compiling PGlite for speed takes longer than it saves in so short a run: an eighth of the CPU.
    env: { BUN_JSC_useOMGJIT: '0', BUN_JSC_useFTLJIT: '0' },
  },
  ...acceptance('bun', acceptanceFilesBut([]), onBun),
  ...acceptance('deno', acceptanceFilesBut(ANY_RUNTIME), onDeno),
  ...acceptance('embedded', acceptanceFilesBut(ANY_BACKEND), embedded),
  running('faults-bun', [...sideBySide(3), 'test/faults'], onBun),
  running('faults-deno', [...sideBySide(3), ...RUNTIME_FAULTS], onDeno),
  running('hostile-bun', [...tests, 'test/hostile'], onBun),
  // Relatives of the files differ in what decodes them, which is the same library in a process of its own.
  running('hostile-deno', [...tests, 'test/hostile'], { ...onDeno, HOSTILE_RELATIVES: '0' }),
  running('fuzz-bun', [...tests, 'test/fuzz'], onBun),
  running('fuzz-deno', [...tests, 'test/fuzz'], onDeno),
  // Whether the answers are as the document says is up to the routes, which are the same on Deno.
  // Builds the image, which waits for the disk, and runs it.
  running('image', [...tests, 'test/image']),
  running('schemathesis', [...tests, 'test/schemathesis'], onBun),
  running('soak', [...sideBySide(2), 'test/soak']),
  running('browser', [...sideBySide(2), 'test/browser']),
]
