/** Soft-deleted objects whose retention time is over begin to be purged. */
import { BATCH_ROWS, type Step } from '../step.ts'

export const retire: Step = async ({ repository, relay, log }, report) => {
  for (;;) {
    const rows = await repository.retire(BATCH_ROWS)
    report.retired += rows.length
    // Owed on the rows in any case, which stay until it is sent.
    await relay.send(rows).catch((error) => log.warn({ err: error }, 'upkeep: events not sent, they stay owed'))
    if (rows.length < BATCH_ROWS) return
  }
}
