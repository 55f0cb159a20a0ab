/** Step: makes placeholders, which pages show until a picture has loaded. */
import type { PlaceholderRow } from '../../table/placeholders.ts'
import { afterFailure, forUpkeep, inIdleTime, type Progress } from '../idle-time.ts'
import type { Step, UpkeepDeps, UpkeepReport } from '../step.ts'

export const makePlaceholders: Step<'placeholders'> = async (deps, report) => {
  await inIdleTime(deps, async () => {
    const row = await deps.repository.placeholders.claim()
    return row === null ? 'none' : makeOne(row, deps, report)
  })
}

async function makeOne(
  row: PlaceholderRow,
  { repository, decode }: UpkeepDeps<'placeholders'>,
  report: UpkeepReport,
): Promise<Progress> {
  try {
    const { placeholder } = await decode(row, { kind: 'placeholder', mimeType: row.mimeType }, forUpkeep())
    if (placeholder !== undefined && (await repository.placeholders.keep(row, placeholder))) report.placeholders += 1
    return 'done'
  } catch (error) {
    return afterFailure(error, () => repository.placeholders.release(row))
  }
}
