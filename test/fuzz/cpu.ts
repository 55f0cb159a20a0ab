import { readFile } from 'node:fs/promises'

// USER_HZ, which is 100 on every architecture that the tests run on.
const TICKS = 100

/** The seconds of CPU, its own and the kernel's for it, that a process has used so far (proc_pid_stat(5)). */
export async function cpuSecondsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The name of the program comes in brackets before the third field, and may itself hold some.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [utime, stime] = [fields[11], fields[12]]
  return (Number(utime) + Number(stime)) / TICKS
}
