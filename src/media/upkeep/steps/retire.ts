/** Step: moves soft-deleted objects whose retention time has ended to purging. */
import { BATCH_ROWS, type Step } from '../step.ts'

export const retire: Step<'purging'> = async ({ repository, relay, log }, report) => {
  for (;;) {
    const rows = await repository.purging.retire(BATCH_ROWS)
    report.retired += rows.length
    // The rows owe these events in any case, and stay until they are sent.
    await relay.send(rows).catch((error) => log.warn({ err: error }, 'upkeep: events not sent, they stay owed'))
    if (rows.length < BATCH_ROWS) return
  }
}
