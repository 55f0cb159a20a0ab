/**
 * Upkeep: background passes that complete or expire abandoned uploads, purge soft-deleted objects after the retention
 * time, remove orphans, and do the other steps below. Runs in every replica; rows that one has claimed are left alone by
 * the others for a while.
 */
import type { Step, UpkeepDeps, UpkeepReport } from './step.ts'
import { completeArrived } from './steps/complete-arrived.ts'
import { endHolds } from './steps/end-holds.ts'
import { expire } from './steps/expire.ts'
import { forgetOutcomes } from './steps/forget-outcomes.ts'
import { mendJson } from './steps/mend-json.ts'
import { recheckOrphans, removeOrphans } from './steps/orphans.ts'
import { makePlaceholders } from './steps/placeholders.ts'
import { makePublicCopies } from './steps/public-copies.ts'
import { purge } from './steps/purge.ts'
import { recallOriginals } from './steps/recall-originals.ts'
import { retire } from './steps/retire.ts'
import { sweep } from './steps/sweep.ts'
import { removeTransients } from './steps/transients.ts'
import { withdrawUncleaned } from './steps/withdraw-uncleaned.ts'

export type Upkeep = {
  /** One pass over everything that is due. Never throws. */
  run(): Promise<UpkeepReport>
  /** Repeats `run` until `stop`, and gives each report to `told`. */
  start(told?: (report: UpkeepReport) => void): void
  /** Stops the loop; resolves when no pass is running any more. */
  stop(): Promise<void>
}

type Groups =
  | 'arrivals'
  | 'holds'
  | 'purging'
  | 'sweeps'
  | 'searches'
  | 'keys'
  | 'publicCopies'
  | 'transients'
  | 'placeholders'
  | 'outcomes'
  | 'shapes'

/** In this order: what non-owners must no longer get goes first. */
const steps: Record<string, Step<Groups>> = {
  endHolds,
  withdrawUncleaned,
  removeTransients,
  mendJson,
  completeArrived,
  expire,
  retire,
  purge,
  removeOrphans,
  recheckOrphans,
  sweep,
  recallOriginals,
  forgetOutcomes,
  makePublicCopies,
  makePlaceholders,
}

const NOTHING = {
  completed: 0,
  expired: 0,
  unclaimed: 0,
  retired: 0,
  emptied: 0,
  forgotten: 0,
  orphans: 0,
  placeholders: 0,
  published: 0,
  mended: 0,
}
const LONGEST_PAUSE_SECONDS = 60

export function createUpkeep(ports: Omit<UpkeepDeps<Groups>, 'stopping'>): Upkeep {
  const { log, pendingSeconds } = ports
  const deps: UpkeepDeps<Groups> = { ...ports, stopping: () => stopped }

  async function run(): Promise<UpkeepReport> {
    const report: UpkeepReport = { ...NOTHING, failed: [] }
    for (const [name, step] of Object.entries(steps)) {
      try {
        await step(deps, report)
      } catch (error) {
        report.failed.push(name)
        log.warn({ err: error, step: name }, 'upkeep: not finished, trying again with the next pass')
      }
    }
    return report
  }

  let running: Promise<void> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let stopped = false

  /** Randomized, so that replicas that started together do not run at the same time again and again. */
  function schedule(told: (report: UpkeepReport) => void): void {
    if (stopped) return
    const seconds = Math.min(LONGEST_PAUSE_SECONDS, pendingSeconds) * (0.75 + Math.random() / 2)
    timer = setTimeout(() => {
      running = run().then((report) => {
        told(report)
        const { failed, ...counts } = report
        if (Object.values(counts).some((count) => count > 0)) log.info({ ...counts, failed }, 'upkeep: done')
        schedule(told)
      })
    }, seconds * 1000)
  }

  return {
    run,
    start: (told = () => {}) => schedule(told),
    async stop() {
      stopped = true
      clearTimeout(timer)
      await running
    },
  }
}
