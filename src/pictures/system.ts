/** What the operating system says of processes and of this container. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Reads a file of the kernel's; null where there is none. */
export type ReadKernelFile = (path: string) => Promise<string | null>

/** Deno 2.9 reads nothing under /proc and /sys unless everything is allowed; a shell does it there. */
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

// What times in /proc are counted in (USER_HZ), on every architecture that the runtimes run on.
const TICKS_A_SECOND = 100

/** CPU time that a process has taken so far, in seconds; null where the system does not tell. */
export async function cpuSecondsOf(pid: number): Promise<number | null> {
  const stat = await readKernelFile(`/proc/${pid}/stat`)
  // The second field is a name in parentheses, which may hold anything.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields === undefined) return null
  const ticks = Number(fields[11]) + Number(fields[12])
  return Number.isFinite(ticks) ? ticks / TICKS_A_SECOND : null
}

/** Bytes of data that a process has reserved, which is what RLIMIT_DATA counts, and those it holds; null where unknown. */
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
