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

/** The processes, and the memory that a runtime is known to reserve, in bytes. */
type Processes = Deps & {
  all: Set<DecoderProcess>
  idle: { decoder: DecoderProcess; timer: ReturnType<typeof setTimeout> }[]
  lifeCpuSeconds: number
  reserve: number
  stopped: boolean
}

export function createWarm(deps: Deps): Warm {
  const processes: Processes = {
    ...deps,
    all: new Set(),
    idle: [],
    lifeCpuSeconds: OWN_CPU_SECONDS + deps.jobs * deps.cpuSeconds,
    reserve: GUESSED_RESERVE_BYTES,
    stopped: false,
  }
  return {
    start: () => start(processes),
    take: () => take(processes),
    giveBack: (decoder) => giveBack(processes, decoder),
    count: () => processes.all.size,
    async stop() {
      processes.stopped = true
      await Promise.all([...processes.all].map((decoder) => decoder.end()))
    },
  }
}

/**
 * RLIMIT_DATA counts memory that a runtime reserves and never touches: hundreds of MB, depending on runtime, version
 * and number of cores. The reserve is measured and added to the memory limit of the process.
 */
async function start(processes: Processes): Promise<DecoderProcess> {
  const { memoryBytes, cpuSeconds, lifeCpuSeconds, types } = processes
  const program = [String(memoryBytes), String(cpuSeconds), types.join(',')]
  for (let starts = 1; ; starts += 1) {
    if (processes.stopped) throw new Error('The service is stopping.')
    const given = processes.reserve
    const begun = await startProcess(startOf({ dataBytes: memoryBytes + given, cpuSeconds: lifeCpuSeconds }, program))
      .then((decoder) => ({ decoder }))
      .catch((error: unknown) => ({ error }))
    if ('error' in begun) {
      if (starts === MOST_STARTS) throw begun.error
      processes.reserve = Math.max(processes.reserve, 2 * given)
      continue
    }
    const { decoder } = begun
    keep(processes, decoder)
    const memory = await memoryOf(decoder.pid)
    if (memory !== null) processes.reserve = memory.reserved - memory.held
    const isNear = Math.abs(processes.reserve - given) <= RESERVE_SLACK_BYTES
    if (!processes.stopped && (isNear || starts === MOST_STARTS)) return decoder
    await decoder.end()
  }
}

/** Counts the process until it has ended. */
function keep(processes: Processes, decoder: DecoderProcess): void {
  processes.all.add(decoder)
  void decoder.ended.then(() => {
    processes.all.delete(decoder)
    forgetIdle(processes, decoder)
  })
}

async function take(processes: Processes): Promise<DecoderProcess> {
  // The most recently used process, so that surplus processes reach their idle limit.
  const entry = processes.idle.pop()
  if (entry === undefined) return start(processes)
  clearTimeout(entry.timer)
  return entry.decoder
}

async function giveBack(processes: Processes, decoder: DecoderProcess): Promise<void> {
  if (!processes.all.has(decoder)) return
  const used = { jobs: decoder.jobs(), cpuSeconds: decoder.cpuSeconds() }
  if (processes.stopped || decoder.isSpent() || isSpent(used, processes)) return decoder.end()
  const timer = setTimeout(() => {
    forgetIdle(processes, decoder)
    void decoder.end()
  }, processes.idleMs)
  processes.idle.push({ decoder, timer })
}

function forgetIdle({ idle }: Processes, decoder: DecoderProcess): void {
  const at = idle.findIndex((entry) => entry.decoder === decoder)
  if (at >= 0) clearTimeout(idle.splice(at, 1)[0]?.timer)
}

/** Whether one more job could reach the process's limits because of the jobs before it. */
export function isSpent(
  used: { jobs: number; cpuSeconds: number },
  given: { jobs: number; cpuSeconds: number; lifeCpuSeconds: number },
): boolean {
  return used.jobs >= given.jobs || given.lifeCpuSeconds - used.cpuSeconds < given.cpuSeconds
}
