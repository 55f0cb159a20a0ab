/** Step: soft-deletes held objects that nobody has claimed in time. */
import { changeInBatches } from '../rows.ts'
import type { Step } from '../step.ts'

export const endHolds: Step<'holds'> = async (deps, report) => {
  await changeInBatches(deps, deps.repository.holds.end, (rows) => {
    report.unclaimed += rows
  })
}
