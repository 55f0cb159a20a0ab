/** Step: removes bytes under an object's prefixes that are not its own, left there by re-keying or a late writer. */
import type { ListedObject, Storage } from '../../../storage/storage.ts'
import { prefixesOf } from '../../object/object.ts'
import type { SweepRow } from '../../table/sweeps.ts'
import { inBatches } from '../rows.ts'
import { LISTED_KEYS, PURGE_ROWS, ROW_MS, type Step, type UpkeepDeps, type UpkeepReport } from '../step.ts'

export const sweep: Step<'sweeps'> = async (deps, report) => {
  await inBatches(deps, PURGE_ROWS, deps.repository.sweeps.claim, (row) => sweepOne(row, deps, report))
}

async function sweepOne(
  { id, claim }: SweepRow,
  { repository, storage }: UpkeepDeps<'sweeps'>,
  report: UpkeepReport,
): Promise<void> {
  const signal = AbortSignal.timeout(ROW_MS)
  for (const prefix of prefixesOf(id)) {
    for await (const listed of pages(storage, prefix, signal)) {
      // Read after the listing, see `ownKeys`.
      const own = await repository.sweeps.ownKeys(id)
      const others = own === null ? [] : listed.flatMap(({ key }) => (own.includes(key) ? [] : [key]))
      if (others.length > 0) await storage.remove(others, { signal })
      report.orphans += others.length
    }
  }
  await repository.sweeps.end(id, claim)
}

async function* pages(storage: Storage, prefix: string, signal: AbortSignal): AsyncGenerator<ListedObject[], void> {
  for (let startAfter = ''; ; ) {
    const listed = await storage.list({ prefix, startAfter, limit: LISTED_KEYS, signal })
    const last = listed.at(-1)
    if (last !== undefined) yield listed
    if (last === undefined || listed.length < LISTED_KEYS) return
    startAfter = last.key
  }
}
