/** Sends the events that rows owe. */
import type { EventBus, MediaEvent } from '../../events/events.ts'
import type { Log } from '../../log.ts'
import { timed } from '../../telemetry/record.ts'
import type { Repository } from '../table/repository.ts'

/** Rows whose events are sent together. */
export const BATCH_ROWS = 100

/** Dependencies of all parts of the relay. */
export type Sending = { repository: Pick<Repository, 'outbox' | 'health'>; events: EventBus; log: Log }

/** A row with the events that it owes, oldest first. */
export type Owing = { outbox: MediaEvent[] }

/** See `Relay.send`. Sends each row's events whole and oldest first, so that no event overtakes an earlier one. */
export async function send({ repository, events }: Sending, rows: readonly Owing[]): Promise<number> {
  const owed = rows.flatMap(({ outbox }) => outbox)
  if (owed.length === 0) return 0
  await timed('events', () => events.publish(owed))
  await repository.outbox.settle(owed)
  return owed.length
}
