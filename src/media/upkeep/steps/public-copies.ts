/** Step: copies public objects to the CDN. */

import { Problem } from '../../../problem.ts'
import { NotDone } from '../../decoding/decode.ts'
import { isRefusal } from '../../object/outcomes.ts'
import type { UncopiedRow } from '../../table/public-copies.ts'
import { forUpkeep, inIdleTime, type Progress } from '../idle-time.ts'
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
    if (!(error instanceof Problem)) throw error
    if (error instanceof NotDone) {
      await repository.publicCopies.release(row)
      return 'busy'
    }
    // The row has the outcome, and when to try again; or the object is no longer public.
    if (isRefusal(error) || error.code === 'overloaded' || error.code === 'not_found') return 'done'
    throw error
  }
}
