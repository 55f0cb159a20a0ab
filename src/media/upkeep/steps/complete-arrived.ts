/** Step: completes uploads whose bytes have arrived, and whose client has not called `complete`. */
import { Problem } from '../../../problem.ts'
import type { ArrivingRow } from '../../table/arrivals.ts'
import { inBatches } from '../rows.ts'
import { BATCH_ROWS, type Step, type UpkeepDeps, type UpkeepReport } from '../step.ts'

export const completeArrived: Step<'arrivals'> = async (deps, report) => {
  if (!deps.autoComplete) return
  await inBatches(deps, BATCH_ROWS, deps.repository.arrivals.claim, (row) => completeOne(row, deps, report))
}

/** Bytes that are refused are removed with their row, as after the client's own call. */
async function completeOne(
  row: ArrivingRow,
  { repository, storage, completeArrived }: UpkeepDeps<'arrivals'>,
  report: UpkeepReport,
): Promise<void> {
  try {
    await completeArrived(row)
    report.completed += 1
  } catch (error) {
    const code = error instanceof Problem ? error.code : undefined
    if (code === 'upload_incomplete') return repository.arrivals.postpone(row, 'incomplete')
    // Another call has ended the upload, or the bytes were refused.
    if (code === 'not_found' || (error instanceof Problem && error.kind === 'refused-bytes')) return
    const away = await storage.check().then(
      () => false,
      () => true,
    )
    await (away ? repository.arrivals.release(row) : repository.arrivals.postpone(row, 'failed'))
    throw error
  }
}
