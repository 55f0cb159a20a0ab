/** Step: removes the bytes of purging objects, and then their rows. */
import { removeBytes } from '../../bytes/remove.ts'
import type { PurgingRow } from '../../table/purging.ts'
import { inBatches } from '../rows.ts'
import { PURGE_ROWS, ROW_MS, type Step, type UpkeepDeps, type UpkeepReport } from '../step.ts'

export const purge: Step<'purging'> = async (deps, report) => {
  await inBatches(deps, PURGE_ROWS, deps.repository.purging.claim, (row) => purgeOne(row, deps, report))
}

/** The bytes go before the row does: a purging row may lack its bytes, but no bytes their row. */
async function purgeOne(
  { id, key, transientKeys, linksDead }: PurgingRow,
  { repository, storage }: UpkeepDeps<'purging'>,
  report: UpkeepReport,
): Promise<void> {
  const cancel = { signal: AbortSignal.timeout(ROW_MS) }
  // Aborts multipart copies that ended halfway: stores list uploads by their exact key only (MinIO of February 2026).
  for (const other of Object.keys(transientKeys)) await storage.abortUploads(other, cancel)
  await removeBytes(storage, { id, key }, cancel)
  report.emptied += 1
  if (!linksDead) await repository.purging.postpone(id)
  else if (await repository.purging.forget(id)) report.forgotten += 1
}
