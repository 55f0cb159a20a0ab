/** Sends the events of rows that were just changed, in the background of the requests that changed them. */
import { setImmediate as turn } from 'node:timers/promises'
import type { MediaEvent } from '../../events/events.ts'
import { beginForRequest, timed, unrecorded } from '../../telemetry/record.ts'
import { BATCH_ROWS, type Owing, type Sending } from './send.ts'

export type Announcer = {
  /** See `Relay.announce`. */
  announce(row: Owing): void
  /** Resolves when no event is being sent, or removed from its row. */
  idle(): Promise<void>
}

/** `end` records on the request that changed the row whether its events were sent, or stay owed. */
type Announced = { row: Owing; end: (failed?: boolean) => void }

type State = {
  waiting: Announced[]
  announcing: Promise<void> | undefined
  /** Events that were sent and have to be removed from their rows. */
  sent: MediaEvent[]
  /** The ids of those events, and of the ones that are being removed. */
  readonly unsettled: Set<string>
  settling: Promise<void> | undefined
}

export function createAnnouncer(deps: Sending): Announcer {
  const state: State = { waiting: [], announcing: undefined, sent: [], unsettled: new Set(), settling: undefined }
  return {
    announce(row) {
      state.waiting.push({ row, end: beginForRequest('events') })
      state.announcing ??= unrecorded(() => sendWaiting(deps, state))
    },
    async idle() {
      await state.announcing
      await state.settling
    },
  }
}

/** One batch at a time: events that arrive while one is sent go into the next. */
async function sendWaiting(deps: Sending, state: State): Promise<void> {
  const { events, log } = deps
  const { unsettled } = state
  let batch: Announced[] = []
  try {
    // The rows that one statement has changed are announced one after the other.
    await turn()
    while (state.waiting.length > 0) {
      batch = state.waiting.splice(0, BATCH_ROWS)
      // A row that was changed again soon still lists events that were sent a moment ago.
      const owed = batch.flatMap(({ row }) => row.outbox).filter(({ payload }) => !unsettled.has(payload.eventId))
      if (owed.length > 0) await timed('events', () => events.publish(owed))
      for (const { payload } of owed) unsettled.add(payload.eventId)
      state.sent.push(...owed)
      state.settling ??= settleSent(deps, state)
      for (const { end } of batch.splice(0)) end()
    }
  } catch (error) {
    for (const { end } of [...batch, ...state.waiting]) end(true)
    // The rows still owe them, so they are due again soon; holding them here as well would only fill memory.
    state.waiting = []
    log.warn({ err: error }, 'relay: events not sent, they stay owed')
  } finally {
    state.announcing = undefined
  }
}

/** Removes sent events from their rows, at once; events sent meanwhile go with the next statement. */
async function settleSent({ repository, log }: Sending, state: State): Promise<void> {
  while (state.sent.length > 0) {
    const batch = state.sent
    state.sent = []
    try {
      await repository.outbox.settle(batch)
    } catch (error) {
      log.warn({ err: error }, 'relay: events that were sent stay owed, and are sent again')
    }
    for (const { payload } of batch) state.unsettled.delete(payload.eventId)
  }
  state.settling = undefined
}
