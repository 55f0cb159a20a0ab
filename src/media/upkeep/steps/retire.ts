/** Step: moves soft-deleted objects whose retention time has ended to purging. */
import { changeInBatches } from '../rows.ts'
import type { Step } from '../step.ts'

export const retire: Step<'purging'> = async (deps, report) => {
  await changeInBatches(deps, deps.repository.purging.retire, (rows) => {
    report.retired += rows
  })
}
