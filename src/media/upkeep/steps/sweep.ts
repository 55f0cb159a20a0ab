/** Bytes below an object's prefixes that are not the object's are removed: what a move or a late writer left there. */
import { prefixesOf } from '../../object.ts'
import { MOVE_GRACE_SECONDS, type SweepRow } from '../../upkeep-statements.ts'
import { LISTED_KEYS, PURGE_ROWS, type Step, type UpkeepDeps, type UpkeepReport } from '../step.ts'

export const sweep: Step = async (deps, report) => {
  for (;;) {
    const rows = await deps.repository.claimSweeps(PURGE_ROWS)
    for (const row of rows) await sweepOne(row, deps, report)
    if (rows.length < PURGE_ROWS) return
  }
}

async function sweepOne(
  { id, keys, claim }: SweepRow,
  { repository, storage, now }: UpkeepDeps,
  report: UpkeepReport,
): Promise<void> {
  const old = now() - MOVE_GRACE_SECONDS * 1000
  let young = false
  for (const prefix of prefixesOf(id)) {
    const listed = await storage.list({ prefix, limit: LISTED_KEYS })
    const others = listed.filter(({ key }) => !keys.includes(key))
    const removable = others.filter(({ lastModified }) => lastModified.getTime() < old)
    if (removable.length > 0) await storage.remove(removable.map(({ key }) => key))
    report.orphans += removable.length
    // Perhaps the object's own in a moment: a move copies first, and then tells the row.
    young ||= removable.length < others.length
  }
  await repository.endSweep(id, claim, young ? MOVE_GRACE_SECONDS : null)
}
