/** Objects on their way out lose their bytes, and then their rows. */
import { removeBytes } from '../../removal.ts'
import type { PurgingRow } from '../../upkeep-statements.ts'
import { PURGE_ROWS, type Step, type UpkeepDeps, type UpkeepReport } from '../step.ts'

export const purge: Step = async (deps, report) => {
  for (;;) {
    const rows = await deps.repository.claimPurging(PURGE_ROWS)
    const outcomes = await Promise.allSettled(rows.map((row) => purgeOne(row, deps, report)))
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    if (failed) throw failed.reason
    if (rows.length < PURGE_ROWS) return
  }
}

/** The bytes go before the row does: a row may lack its bytes here, but no bytes their row. */
async function purgeOne(
  { id, key, linksDead }: PurgingRow,
  { repository, storage }: UpkeepDeps,
  report: UpkeepReport,
): Promise<void> {
  await removeBytes(storage, { id, key })
  report.emptied += 1
  if (!linksDead) await repository.postpone(id)
  else if (await repository.forget(id)) report.forgotten += 1
}
