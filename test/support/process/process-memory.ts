/** What a process holds, as the Linux kernel counts it (proc(5)). */
import { readdir, readFile, writeFile } from 'node:fs/promises'

export const MB = 1_000_000

/** The most a process has held since its start, or since `resetPeak`, in bytes. */
export async function peakOf(pid: number): Promise<number> {
  return field(pid, 'VmHWM')
}

/** What a process holds now, in bytes. */
export async function residentOf(pid: number): Promise<number> {
  return field(pid, 'VmRSS')
}

/** Makes the peak what the process holds now. */
export async function resetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5')
}

/** How many files and connections a process has open. */
export async function openFilesOf(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length
}

async function field(pid: number, name: string): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]
  if (kib === undefined) throw new Error(`no ${name} of process ${pid}`)
  return Number(kib) * 1024
}
