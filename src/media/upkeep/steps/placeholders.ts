/** Pictures get the placeholder that is shown until they are there. */
import { MAX_DECODED_BYTES } from '../../../pictures/limits.ts'
import type { PlaceholderRow } from '../../placeholder-statements.ts'
import { inIdleTime } from '../idle-time.ts'
import type { Step, UpkeepDeps } from '../step.ts'

export const makePlaceholders: Step = async (deps, report) => {
  await inIdleTime(deps, async () => {
    const row = await deps.repository.claimPlaceholder()
    if (row !== null && (await makeOne(row, deps))) report.placeholders += 1
    return row !== null
  })
}

async function makeOne(
  { id, key, mimeType, sizeBytes }: PlaceholderRow,
  { repository, storage, makePlaceholder }: UpkeepDeps,
): Promise<boolean> {
  const bytes = sizeBytes > MAX_DECODED_BYTES ? null : await storage.read(key, { start: 0, length: sizeBytes })
  const placeholder = bytes && (await makePlaceholder(bytes, mimeType))
  await repository.keepPlaceholder(id, placeholder)
  return placeholder !== null
}
