/** The command line, resource limits and environment of a decoder process. */
import { homedir } from 'node:os'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

export type ProcessLimits = {
  /** RLIMIT_DATA in bytes: memory that the process may reserve, used or not. */
  dataBytes: number
  /** RLIMIT_CPU, for the lifetime of the process. */
  cpuSeconds: number
}

/** A program with its arguments, working folder and complete environment. */
export type Start = { command: string; args: string[]; cwd: string; env: Record<string, string> }

const PROGRAM = fileURLToPath(new URL('./child.ts', import.meta.url))
const PACKAGE = fileURLToPath(new URL('../..', import.meta.url))

/**
 * A failing command does not prevent the start: on a system without this limit, the child's own watch enforces it.
 * `exec` keeps the pid, so that signals and /proc refer to the decoder itself.
 */
const SCRIPT = `
ulimit -c 0 2>/dev/null || :
ulimit -d "$1" 2>/dev/null || :
ulimit -t "$2" 2>/dev/null || :
{ echo 1000 > /proc/self/oom_score_adj; } 2>/dev/null || :
shift 2
exec nice -n 10 "$@"`

/**
 * Memory that a runtime reserves without touching it counts against RLIMIT_DATA. These variables keep Bun (1.4.5) at
 * 200 MB; JavaScriptCore would reserve as much as the limit allows. They also turn off crash reports over the network.
 */
const BUN = {
  BUN_JSC_structureHeapSizeInKB: '65536',
  BUN_JSC_jitMemoryReservationSize: '33554432',
  MIMALLOC_ARENA_RESERVE: '65536',
  MIMALLOC_ARENA_EAGER_COMMIT: '0',
  BUN_ENABLE_CRASH_REPORTING: '0',
}

/** By runtime: its arguments, and the bytes that it is assumed to reserve until they are measured. */
const RUNTIMES = {
  // Bun would load .env files of the working folder, which may hold secrets.
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

/** The bytes that this runtime is assumed to reserve beyond those it uses. */
export const GUESSED_RESERVE_BYTES = runtime.reserve

/** @param program arguments that are appended to the command line */
export function startOf(limits: ProcessLimits, program: string[]): Start {
  const kibibytes = Math.ceil(limits.dataBytes / 1024)
  return {
    command: 'sh',
    args: [
      ...['-c', SCRIPT, 'decoder', String(kibibytes), String(Math.ceil(limits.cpuSeconds))],
      ...[process.execPath, ...runtime.args, PROGRAM, ...program],
    ],
    // Deno resolves packages from this folder.
    cwd: PACKAGE,
    env: {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      // Deno caches compiled modules there.
      HOME: homedir(),
      // One malloc arena for all threads, so that a thread can reuse memory that another has freed.
      MALLOC_ARENA_MAX: '1',
      // What glibc comes to by itself after some large pictures: memory of a job is kept for the next one.
      MALLOC_MMAP_THRESHOLD_: String(32 * 1024 * 1024),
      MALLOC_TRIM_THRESHOLD_: String(64 * 1024 * 1024),
      UV_THREADPOOL_SIZE: '2',
      ...runtime.env,
    },
  }
}
