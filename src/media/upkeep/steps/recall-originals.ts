/** Step: re-keys originals out of the CDN's home, where an earlier version moved them. */
import { createRekeying, type Rekeying } from '../../bytes/rekey.ts'
import type { StoredObject } from '../../object/object.ts'
import { doEach, failWith } from '../rows.ts'
import { PURGE_ROWS, type Step, type UpkeepDeps } from '../step.ts'

export const recallOriginals: Step<'publicCopies' | 'transients'> = async (deps) => {
  const rekeying = createRekeying(deps)
  const errors: unknown[] = []
  for (let after = ''; !deps.stopping(); ) {
    const rows = await deps.repository.publicCopies.exposedAfter(after, PURGE_ROWS)
    errors.push(...(await doEach(rows, (row) => recallOne(row, rekeying, deps))))
    const last = rows.at(-1)
    if (last === undefined) break
    after = last.key
  }
  failWith(errors)
}

async function recallOne(
  row: StoredObject,
  rekeying: Rekeying,
  { repository, storage }: UpkeepDeps<'publicCopies' | 'transients'>,
): Promise<void> {
  const stored = await storage.head(row.key)
  if (stored === null) return
  const to = await rekeying.copy(row, 'media/', stored)
  const transients = await repository.publicCopies.recall(row, to)
  await (transients === null ? rekeying.remove(to) : rekeying.tryToRemoveTransients(row.id, transients))
}
