/** Originals that an earlier version moved to where a CDN serves them come back. */
import { createMoves, type Moves } from '../../moves.ts'
import type { StoredObject } from '../../object.ts'
import { PURGE_ROWS, type Step, type UpkeepDeps } from '../step.ts'

export const recallOriginals: Step = async (deps) => {
  const moves = createMoves(deps)
  for (let after = ''; !deps.stopping(); ) {
    const rows = await deps.repository.exposedAfter(after, PURGE_ROWS)
    for (const row of rows) await recallOne(row, moves, deps)
    const last = rows.at(-1)
    if (last === undefined) return
    after = last.key
  }
}

async function recallOne(row: StoredObject, moves: Moves, { repository, storage }: UpkeepDeps): Promise<void> {
  const stored = await storage.head(row.key)
  if (stored === null) return
  const to = await moves.copy(row, 'media/', stored.etag)
  await moves.remove((await repository.recall(row, to)) ? row.key : to)
}
