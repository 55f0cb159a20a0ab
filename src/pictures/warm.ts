/** Keeps decoder processes between jobs, and starts new ones when none is idle. */
import { type DecoderProcess, startProcess } from './process.ts'
import { GUESSED_RESERVE_BYTES, startOf } from './start.ts'
import { memoryOf } from './system.ts'

type Deps = {
  /** Memory limit of one process, in bytes. */
  memoryBytes: number
  /** CPU time limit of one job. */
  cpuSeconds: number
  /** Jobs of one process before it is replaced. */
  jobs: number
  /** Time that a process stays idle before it is ended. */
  idleMs: number
  /** Media types that may be decoded. */
  types: string[]
}

export type Warm = {
  take(): Promise<DecoderProcess>
  /** Starts a process that has had no job yet. */
  start(): Promise<DecoderProcess>
  /** Keeps the process for the next job, or ends it after its last one; resolves when that is done. */
  giveBack(decoder: DecoderProcess): Promise<void>
  /** Number of processes. */
  count(): number
  /** Ends all processes, busy ones included, and starts no more. */
  stop(): Promise<void>
}

const MOST_STARTS = 3
// A process is restarted when the measured reserve differs from the assumed one by more than this.
const RESERVE_SLACK_BYTES = 32 * 1024 * 1024
// CPU time of a process for its start and between jobs.
const OWN_CPU_SECONDS = 10

export function createWarm({ memoryBytes, cpuSeconds, jobs, idleMs, types }: Deps): Warm {
  const all = new Set<DecoderProcess>()
  const idle: { decoder: DecoderProcess; timer: ReturnType<typeof setTimeout> }[] = []
  const lifeCpuSeconds = OWN_CPU_SECONDS + jobs * cpuSeconds
  const program = [String(memoryBytes), String(cpuSeconds), types.join(',')]
  let reserve = GUESSED_RESERVE_BYTES
  let stopped = false

  /**
   * RLIMIT_DATA counts memory that a runtime reserves and never touches: hundreds of MB, depending on runtime, version
   * and number of cores. The reserve is measured and added to the memory limit of the process.
   */
  async function start(): Promise<DecoderProcess> {
    for (let starts = 1; ; starts += 1) {
      if (stopped) throw new Error('The service is stopping.')
      const given = reserve
      const begun = await startProcess(startOf({ dataBytes: memoryBytes + given, cpuSeconds: lifeCpuSeconds }, program))
        .then((decoder) => ({ decoder }))
        .catch((error: unknown) => ({ error }))
      if ('error' in begun) {
        if (starts === MOST_STARTS) throw begun.error
        reserve = Math.max(reserve, 2 * given)
        continue
      }
      const { decoder } = begun
      all.add(decoder)
      void decoder.ended.then(() => {
        all.delete(decoder)
        forgetIdle(decoder)
      })
      const memory = await memoryOf(decoder.pid)
      if (memory !== null) reserve = memory.reserved - memory.held
      if (!stopped && (Math.abs(reserve - given) <= RESERVE_SLACK_BYTES || starts === MOST_STARTS)) return decoder
      await decoder.end()
    }
  }

  function forgetIdle(decoder: DecoderProcess): void {
    const at = idle.findIndex((entry) => entry.decoder === decoder)
    if (at >= 0) clearTimeout(idle.splice(at, 1)[0]?.timer)
  }

  return {
    start,

    async take() {
      // The most recently used process, so that surplus processes reach their idle limit.
      const entry = idle.pop()
      if (entry === undefined) return start()
      clearTimeout(entry.timer)
      return entry.decoder
    },

    async giveBack(decoder) {
      if (!all.has(decoder)) return
      const used = { jobs: decoder.jobs(), cpuSeconds: decoder.cpuSeconds() }
      if (stopped || isSpent(used, { jobs, cpuSeconds, lifeCpuSeconds })) return decoder.end()
      const timer = setTimeout(() => {
        forgetIdle(decoder)
        void decoder.end()
      }, idleMs)
      idle.push({ decoder, timer })
    },

    count: () => all.size,

    async stop() {
      stopped = true
      await Promise.all([...all].map((decoder) => decoder.end()))
    },
  }
}

/** Whether one more job could reach the process's limits because of the jobs before it. */
export function isSpent(
  used: { jobs: number; cpuSeconds: number },
  given: { jobs: number; cpuSeconds: number; lifeCpuSeconds: number },
): boolean {
  return used.jobs >= given.jobs || given.lifeCpuSeconds - used.cpuSeconds < given.cpuSeconds
}
