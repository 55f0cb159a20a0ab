/** Decoder processes that wait for their next job, and new ones where none does. */
import { type DecoderProcess, startProcess } from './process.ts'
import { GUESSED_RESERVE_BYTES, startOf } from './start.ts'
import { memoryOf } from './system.ts'

type Deps = {
  /** What one process may hold, in bytes. */
  memoryBytes: number
  /** What one job may take. */
  cpuSeconds: number
  /** How many jobs a process lives for. */
  jobs: number
  /** How long one waits for its next job before it is ended. */
  idleMs: number
  /** Media types that may be decoded. */
  types: string[]
}

export type Warm = {
  take(): Promise<DecoderProcess>
  /** One that had no job yet. */
  start(): Promise<DecoderProcess>
  /** Keeps it for the next job, or ends it, when it was given its last; resolves when it is one or the other. */
  giveBack(decoder: DecoderProcess): Promise<void>
  /** How many processes there are. */
  count(): number
  /** Ends all, also those at work, and starts no more. */
  stop(): Promise<void>
}

const MOST_STARTS = 3
// A measured reserve may differ so much from the guess before a process is started again for it.
const RESERVE_SLACK_BYTES = 32 * 1024 * 1024
// Of a process, for its start and what comes between two jobs.
const OWN_CPU_SECONDS = 10

export function createWarm({ memoryBytes, cpuSeconds, jobs, idleMs, types }: Deps): Warm {
  const all = new Set<DecoderProcess>()
  const idle: { decoder: DecoderProcess; timer: ReturnType<typeof setTimeout> }[] = []
  const lifeCpuSeconds = OWN_CPU_SECONDS + jobs * cpuSeconds
  const program = [String(memoryBytes), String(cpuSeconds), types.join(',')]
  let reserve = GUESSED_RESERVE_BYTES
  let stopped = false

  /**
   * RLIMIT_DATA counts what a runtime reserves and never touches, hundreds of MB, by runtime, version and number of
   * cores: it is measured, and added to what the process may hold.
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
      // The one used last: those that are not needed come to their end.
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

/** Whether a process could be ended for what others have used, when it was given one more job. */
export function isSpent(
  used: { jobs: number; cpuSeconds: number },
  given: { jobs: number; cpuSeconds: number; lifeCpuSeconds: number },
): boolean {
  return used.jobs >= given.jobs || given.lifeCpuSeconds - used.cpuSeconds < given.cpuSeconds
}
