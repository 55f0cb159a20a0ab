/** Step: copies public objects to the CDN. */

import { Problem } from '../../../problem.ts'
import type { UncopiedRow } from '../../table/public-copies.ts'
import { afterFailure, forUpkeep, inIdleTime, type Progress } from '../idle-time.ts'
import type { Step, UpkeepDeps, UpkeepReport } from '../step.ts'

export const makePublicCopies: Step<'publicCopies'> = async (deps, report) => {
  if (!deps.publicAccess.hasCdn) return
  await inIdleTime(deps, async () => {
    const row = await deps.repository.publicCopies.claim()
    return row === null ? 'none' : makeOne(row, deps, report)
  })
}

async function makeOne(
  row: UncopiedRow,
  { repository, makePublicCopy }: UpkeepDeps<'publicCopies'>,
  report: UpkeepReport,
): Promise<Progress> {
  try {
    await makePublicCopy(row, forUpkeep().party)
    report.published += 1
    return 'done'
  } catch (error) {
    // It is no longer public.
    if (error instanceof Problem && error.code === 'not_found') return 'done'
    return afterFailure(error, () => repository.publicCopies.release(row))
  }
}
