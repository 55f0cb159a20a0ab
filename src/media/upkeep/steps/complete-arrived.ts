/** Step: completes uploads whose bytes have arrived, and whose client has not called `complete`. */
import { Problem } from '../../../problem.ts'
import type { ArrivingRow } from '../../table/arrivals.ts'
import { inBatches } from '../rows.ts'
import { BATCH_ROWS, type Step, type UpkeepDeps, type UpkeepReport } from '../step.ts'

export const completeArrived: Step<'arrivals'> = async (deps, report) => {
  if (!deps.autoComplete) return
  const { arrivals } = deps.repository
  while ((await arrivals.adopt(BATCH_ROWS)) === BATCH_ROWS);
  // One statement for a whole batch: most looks find nothing.
  const incomplete: ArrivingRow[] = []
  const postpone = async () => {
    const rows = incomplete.splice(0)
    if (rows.length > 0) await arrivals.postpone(rows, 'incomplete')
  }
  const claim = async (limit: number) => {
    await postpone()
    return arrivals.claim(limit)
  }
  await inBatches(deps, BATCH_ROWS, claim, async (row) => {
    if ((await completeOne(row, deps, report)) === 'incomplete') incomplete.push(row)
  }).finally(postpone)
}

/** Bytes that are refused are removed with their row, as after the client's own call. */
async function completeOne(
  row: ArrivingRow,
  { repository, storage, completeArrived }: UpkeepDeps<'arrivals'>,
  report: UpkeepReport,
): Promise<'completed' | 'incomplete' | 'ended'> {
  try {
    const outcome = await completeArrived(row)
    if (outcome === 'completed') report.completed += 1
    return outcome
  } catch (error) {
    const ended = error instanceof Problem && (error.code === 'not_found' || error.kind === 'refused-bytes')
    // Another call has ended the upload, or the bytes were refused.
    if (ended) return 'ended'
    const away = await storage.check().then(
      () => false,
      () => true,
    )
    await (away ? repository.arrivals.release(row) : repository.arrivals.postpone([row], 'failed'))
    throw error
  }
}
