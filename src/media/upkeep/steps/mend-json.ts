/** Step: repairs rows whose JSON an earlier version stored encoded twice, then has the database refuse such rows. */
import type { UpkeepDeps, UpkeepReport } from '../step.ts'

const WINDOW_ROWS = 1000
// At most a quarter of a second of the database's time in a pass, for reading rows that need no repair.
const MOST_WINDOWS = 20

/**
 * Reads the table by id, as far as one pass may go. A full search that began when no replica of such a version was
 * connected, and found nothing, is the last one: the database itself then refuses such rows.
 */
export async function mendJson(
  { repository }: Pick<UpkeepDeps<'shapes'>, 'repository'>,
  report: UpkeepReport,
): Promise<void> {
  const search = await repository.shapes.takeSearch()
  if (search === null) return
  const { claim } = search
  let { after, unsuspected } = search
  for (let i = 0; i < MOST_WINDOWS; i++) {
    const { last, mended } = await repository.shapes.mendAfter(after, WINDOW_ROWS)
    report.mended += mended
    unsuspected &&= mended === 0
    if (last === null) {
      const isOver =
        unsuspected && !(await repository.shapes.hasOldReplicas()) && (await repository.shapes.enforce(claim))
      if (!isOver) await repository.shapes.moveSearch(claim, null)
      return
    }
    after = last
  }
  await repository.shapes.moveSearch(claim, { after, unsuspected })
}
