/** Step: soft-deletes held objects that nobody has claimed in time. */
import { BATCH_ROWS, type Step } from '../step.ts'

export const endHolds: Step<'holds'> = async ({ repository, relay, log }, report) => {
  for (;;) {
    const rows = await repository.holds.end(BATCH_ROWS)
    report.unclaimed += rows.length
    // The rows owe these events in any case.
    await relay.send(rows).catch((error) => log.warn({ err: error }, 'upkeep: events not sent, they stay owed'))
    if (rows.length < BATCH_ROWS) return
  }
}
