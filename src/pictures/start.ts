/** How a decoder process is started: its command line, its limits, and what it finds in its environment. */
import { homedir } from 'node:os'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

export type ProcessLimits = {
  /** RLIMIT_DATA, in bytes: what the process may reserve, whether or not it uses it. */
  dataBytes: number
  /** RLIMIT_CPU, for the life of the process. */
  cpuSeconds: number
}

/** A program with its arguments, where it runs, and all of its environment. */
export type Start = { command: string; args: string[]; cwd: string; env: Record<string, string> }

const PROGRAM = fileURLToPath(new URL('./child.ts', import.meta.url))
const PACKAGE = fileURLToPath(new URL('../..', import.meta.url))

/**
 * What fails here is no reason not to start: where a system has no such limit, the child's own watch has to do. `exec`
 * keeps the pid, so that signals and /proc are about the decoder itself.
 */
const SCRIPT = `
ulimit -c 0 2>/dev/null || :
ulimit -d "$1" 2>/dev/null || :
ulimit -t "$2" 2>/dev/null || :
{ echo 1000 > /proc/self/oom_score_adj; } 2>/dev/null || :
shift 2
exec nice -n 10 "$@"`

/**
 * Memory that a runtime reserves without touching it counts against RLIMIT_DATA. This keeps Bun (1.4.5) at 200 MB of it;
 * JavaScriptCore would take as much of the limit as it can get. Its crash reports go over the network.
 */
const BUN = {
  BUN_JSC_structureHeapSizeInKB: '65536',
  BUN_JSC_jitMemoryReservationSize: '33554432',
  MIMALLOC_ARENA_RESERVE: '65536',
  MIMALLOC_ARENA_EAGER_COMMIT: '0',
  BUN_ENABLE_CRASH_REPORTING: '0',
}

/** By runtime: its arguments, and a guess at what it reserves, in bytes, before it has been measured. */
const RUNTIMES = {
  // Without the files .env of the working folder, which may hold secrets.
  bun: { args: ['--no-env-file', '--no-install'], reserve: 200_000_000, env: BUN },
  deno: {
    args: [
      'run',
      '--no-prompt',
      '--no-remote',
      '--no-lock',
      '--allow-read',
      '--allow-env',
      '--allow-sys',
      '--allow-ffi',
    ],
    reserve: 590_000_000,
    env: {},
  },
  node: { args: [], reserve: 600_000_000, env: {} },
}

const { bun, deno } = process.versions as Record<string, string | undefined>
const runtime = RUNTIMES[bun ? 'bun' : deno ? 'deno' : 'node']

/** A guess at the bytes that this runtime reserves beyond those it uses. */
export const GUESSED_RESERVE_BYTES = runtime.reserve

/** @param program its arguments are added to the command line as they are */
export function startOf(limits: ProcessLimits, program: string[]): Start {
  const kibibytes = Math.ceil(limits.dataBytes / 1024)
  return {
    command: 'sh',
    args: [
      ...['-c', SCRIPT, 'decoder', String(kibibytes), String(Math.ceil(limits.cpuSeconds))],
      ...[process.execPath, ...runtime.args, PROGRAM, ...program],
    ],
    // Deno finds the packages from here.
    cwd: PACKAGE,
    env: {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      // Deno keeps compiled modules there.
      HOME: homedir(),
      // One arena for all threads: what one has freed, another can take.
      MALLOC_ARENA_MAX: '1',
      UV_THREADPOOL_SIZE: '2',
      ...runtime.env,
    },
  }
}
