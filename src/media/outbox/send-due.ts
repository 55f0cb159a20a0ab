/** Sends the events that are due: those that were not sent at once after their change. */
import { violates } from '../../db/errors.ts'
import type { OwingRow } from '../table/outbox.ts'
import { SHAPES } from '../table/shapes.ts'
import { BATCH_ROWS, type Sending, send } from './send.ts'

// Failures of a row, while others succeed, before it is set aside.
const MOST_TRIES = 3

/** Failures of each row, by its id, while others succeeded. */
export type Failures = Map<string, number>

/** See `Relay.run`. */
export async function sendDue(deps: Sending, failures: Failures): Promise<number> {
  let sent = 0
  for (;;) {
    const rows = await claim(deps)
    if (rows.length === 0) return sent
    sent += await send(deps, rows).catch((error) => sendSingly(deps, failures, rows, error))
  }
}

async function claim({ repository: { outbox } }: Sending): Promise<OwingRow[]> {
  try {
    return await outbox.claim(BATCH_ROWS)
  } catch (error) {
    // One row of other shapes keeps the whole batch from being claimed.
    if (!violates(error, SHAPES) || (await outbox.mend(BATCH_ROWS)) === 0) throw error
    return outbox.claim(BATCH_ROWS)
  }
}

/**
 * Sends row by row, after the rows could not be sent together for `reason`. Sets a row aside that has failed
 * `MOST_TRIES` times.
 * @throws when no row can be sent, or when the bus or the database does not answer, because then they are to blame
 */
async function sendSingly(
  deps: Sending,
  failures: Failures,
  rows: readonly OwingRow[],
  reason: unknown,
): Promise<number> {
  const { repository, events } = deps
  let sent = 0
  const failed: Failed[] = []
  for (const row of rows) {
    try {
      sent += await send(deps, [row])
      failures.delete(row.id)
    } catch (error) {
      failed.push({ id: row.id, error })
      await Promise.all([events.check(), repository.health.check()])
    }
  }
  if (sent === 0) throw reason
  for (const one of failed) await countFailure(deps, failures, one)
  return sent
}

type Failed = { id: string; error: unknown }

async function countFailure({ repository, log }: Sending, failures: Failures, { id, error }: Failed): Promise<void> {
  const tries = (failures.get(id) ?? 0) + 1
  failures.set(id, tries)
  if (tries < MOST_TRIES) return
  await repository.outbox.setAside(id)
  failures.delete(id)
  log.error({ err: error, id }, 'relay: the events of this object cannot be sent and are set aside')
}
