/** Reads CPU time and memory of processes, and files of the kernel, from the operating system. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Reads a file under /proc or /sys; null if there is none. */
export type ReadKernelFile = (path: string) => Promise<string | null>

/** Deno 2.9 reads nothing under /proc and /sys without `--allow-all`, so a shell reads it there. */
export const readKernelFile: ReadKernelFile = async (path) => {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
  }
  try {
    const { stdout } = await run('sh', ['-c', 'cat "$1"', 'sh', path], { env: {}, timeout: 5000 })
    return stdout
  } catch {
    return null
  }
}

// Unit of times in /proc (USER_HZ), the same on every architecture that the runtimes support.
const TICKS_A_SECOND = 100

/** CPU time of a process so far, in seconds; null if the system does not report it. */
export async function cpuSecondsOf(pid: number): Promise<number | null> {
  const stat = await readKernelFile(`/proc/${pid}/stat`)
  // The second field is the process name in parentheses, which may itself contain spaces and parentheses.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields === undefined) return null
  const ticks = Number(fields[11]) + Number(fields[12])
  return Number.isFinite(ticks) ? ticks / TICKS_A_SECOND : null
}

/** Data memory of a process in bytes: reserved (as RLIMIT_DATA counts it) and resident; null if unknown. */
export async function memoryOf(pid: number): Promise<{ reserved: number; held: number } | null> {
  const status = await readKernelFile(`/proc/${pid}/status`)
  const reserved = kibibytes(status, 'VmData')
  const held = kibibytes(status, 'RssAnon')
  return reserved === null || held === null ? null : { reserved, held }
}

function kibibytes(status: string | null, name: string): number | null {
  const value = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status ?? '')?.[1]
  return value === undefined ? null : Number(value) * 1024
}
