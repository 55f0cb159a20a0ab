/** CPU time of processes, as the Linux kernel counts it (proc(5)): it depends little on what else the machine does. */
import { readFileSync } from 'node:fs'
import { processTree } from '../test/support/process/process.ts'

// USER_HZ is 100 on every platform that Bun runs on.
const TICKS_PER_SECOND = 100

/** CPU seconds of a process and everything under it so far, of what has ended as well. */
export function cpuSeconds(pid: number): number {
  return processTree(pid).reduce((sum, member) => sum + ticks(member), 0) / TICKS_PER_SECOND
}

/** utime, stime, cutime and cstime; they follow a name in parentheses that may hold anything. */
function ticks(pid: number): number {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
    return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  } catch {
    // It ended between being listed and being read; its parent has its time.
    return 0
  }
}
