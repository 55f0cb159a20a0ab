/**
 * Watches a service from outside, on Linux, while something happens to it: the memory of its process tree, and how long
 * its event loop keeps a request waiting.
 */
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { peakOf } from './process-memory.ts'

export type Seen = {
  /** The most that the service (Pss) and its living children (high-water mark of each) have held at once, in bytes. */
  peak: number
  /** The most CPU that the main thread spent while one request for /health/live waited, in milliseconds. */
  stretchMs: number
  /** The longest wait for /health/live, in milliseconds: on a busy machine others have a part in it. */
  slowestMs: number
}

const MEMORY_EVERY_MS = 40
const HEALTH_EVERY_MS = 5

/** Throws when /health/live fails meanwhile. */
export async function watchWhile(service: { pid: number; baseUrl: string }, work: () => Promise<void>): Promise<Seen> {
  const seen: Seen = { peak: 0, stretchMs: 0, slowestMs: 0 }
  const over = new AbortController()
  const until = async (everyMs: number, look: () => Promise<void>) => {
    while (!over.signal.aborted) {
      await look()
      await sleep(everyMs)
    }
  }
  const memory = until(MEMORY_EVERY_MS, async () => {
    seen.peak = Math.max(seen.peak, await heldBy(service.pid))
  })
  const health = until(HEALTH_EVERY_MS, async () => {
    const [start, cpu] = [performance.now(), await mainThreadMs(service.pid)]
    const answer = await fetch(`${service.baseUrl}/health/live`)
    await answer.body?.cancel()
    if (!answer.ok) throw new Error(`/health/live answered ${answer.status}`)
    seen.stretchMs = Math.max(seen.stretchMs, (await mainThreadMs(service.pid)) - cpu)
    seen.slowestMs = Math.max(seen.slowestMs, performance.now() - start)
  })
  try {
    await Promise.race([work(), memory, health])
  } finally {
    over.abort()
    await Promise.allSettled([memory, health])
  }
  return seen
}

/** What a service and its children hold, in bytes. */
export async function heldBy(pid: number): Promise<number> {
  const children = await Promise.all((await childrenOf(pid)).map((child) => peakOf(child).catch(() => 0)))
  return children.reduce((sum, held) => sum + held, await pssOf(pid))
}

/** The children of a process, whichever of its threads started them (proc(5), /proc/PID/task/TID/children). */
async function childrenOf(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`)
  const lists = threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => ''))
  return (await Promise.all(lists)).flatMap((list) => list.split(' ').filter(Boolean).map(Number))
}

/** Its share of the memory that several processes have mapped, and all that is its own. */
async function pssOf(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1]) * 1024
}

/** CPU time of the first thread since its start, in milliseconds (proc(5), /proc/PID/schedstat: nanoseconds). */
async function mainThreadMs(pid: number): Promise<number> {
  const [nanoseconds] = (await readFile(`/proc/${pid}/task/${pid}/schedstat`, 'utf8')).split(' ')
  return Number(nanoseconds) / 1e6
}
