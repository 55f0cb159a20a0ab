/** The relay: sends the events in the rows' outboxes, at once after a change, and again later if that failed. */
import { setImmediate as turn } from 'node:timers/promises'
import { violates } from '../../db/errors.ts'
import type { EventBus, MediaEvent } from '../../events/events.ts'
import type { Log } from '../../log.ts'
import { beginForRequest, timed, unrecorded } from '../../telemetry/record.ts'
import type { OwingRow } from '../table/outbox.ts'
import type { Repository } from '../table/repository.ts'
import { SHAPES } from '../table/shapes.ts'

export type Relay = {
  /** Sends the events of a row that was just changed, in the background. Never fails. */
  announce(row: { outbox: MediaEvent[] }): void
  /**
   * Sends all events that these rows owe, oldest first, and removes them from the outboxes. Throws when the bus or the
   * database fails.
   */
  send(rows: readonly { outbox: MediaEvent[] }[]): Promise<number>
  /**
   * Sends due events until none is due. Returns how many; throws when the bus or the database fails. Sets a row aside
   * if its events alone repeatedly cannot be sent.
   */
  run(): Promise<number>
  /** Repeats `run` until `stop`. */
  start(): void
  /** Stops the loop; resolves when no event is being sent any more. */
  stop(): Promise<void>
}

const BATCH_ROWS = 100
const PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 5000
// Failures of a row, while others succeed, before it is set aside.
const MOST_TRIES = 3

/** `end` records on the request that changed the row whether its events were sent, or stay owed. */
type Announced = { row: { outbox: MediaEvent[] }; end: (failed?: boolean) => void }

export function createRelay(deps: {
  repository: Pick<Repository, 'outbox' | 'health'>
  events: EventBus
  log: Log
}): Relay {
  const { repository, events, log } = deps
  let waiting: Announced[] = []
  let announcing: Promise<void> | undefined
  /** Events that were sent and have to be removed from their rows. */
  let sent: MediaEvent[] = []
  /** The ids of those events, and of the ones that are being removed. */
  const unsettled = new Set<string>()
  let settling: Promise<void> | undefined
  let running: Promise<unknown> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let stopped = false
  /** Failures of each row while others succeeded. */
  const failures = new Map<string, number>()

  /** Sends each row's events whole and oldest first, so that no event overtakes an earlier one. */
  async function send(rows: readonly { outbox: MediaEvent[] }[]): Promise<number> {
    const owed = rows.flatMap(({ outbox }) => outbox)
    if (owed.length === 0) return 0
    await timed('events', () => events.publish(owed))
    await repository.outbox.settle(owed)
    return owed.length
  }

  /** One batch at a time: events that arrive while one is sent go into the next. */
  async function sendWaiting(): Promise<void> {
    let batch: Announced[] = []
    try {
      // The rows that one statement has changed are announced one after the other.
      await turn()
      while (waiting.length > 0) {
        batch = waiting.splice(0, BATCH_ROWS)
        // A row that was changed again soon still lists events that were sent a moment ago.
        const owed = batch.flatMap(({ row }) => row.outbox).filter(({ payload }) => !unsettled.has(payload.eventId))
        if (owed.length > 0) await timed('events', () => events.publish(owed))
        for (const { payload } of owed) unsettled.add(payload.eventId)
        sent.push(...owed)
        settling ??= settleSent()
        for (const { end } of batch.splice(0)) end()
      }
    } catch (error) {
      for (const { end } of [...batch, ...waiting]) end(true)
      // The rows still owe them, so they are due again soon; holding them here as well would only fill memory.
      waiting = []
      log.warn({ err: error }, 'relay: events not sent, they stay owed')
    } finally {
      announcing = undefined
    }
  }

  /** Removes sent events from their rows, at once; events sent meanwhile go with the next statement. */
  async function settleSent(): Promise<void> {
    while (sent.length > 0) {
      const batch = sent
      sent = []
      try {
        await repository.outbox.settle(batch)
      } catch (error) {
        log.warn({ err: error }, 'relay: events that were sent stay owed, and are sent again')
      }
      for (const { payload } of batch) unsettled.delete(payload.eventId)
    }
    settling = undefined
  }

  async function run(): Promise<number> {
    let sent = 0
    for (;;) {
      const rows = await claim()
      if (rows.length === 0) return sent
      sent += await send(rows).catch((error) => sendSingly(rows, error))
    }
  }

  async function claim(): Promise<OwingRow[]> {
    try {
      return await repository.outbox.claim(BATCH_ROWS)
    } catch (error) {
      // One row of other shapes keeps the whole batch from being claimed.
      if (!violates(error, SHAPES) || (await repository.outbox.mend(BATCH_ROWS)) === 0) throw error
      return repository.outbox.claim(BATCH_ROWS)
    }
  }

  /**
   * Sends row by row, after the rows could not be sent together for `reason`. Throws when no row can be sent, or when
   * the bus or the database does not answer, because then they are to blame. Otherwise sets a row aside that has failed
   * `MOST_TRIES` times.
   */
  async function sendSingly(rows: readonly OwingRow[], reason: unknown): Promise<number> {
    let sent = 0
    const failed: { id: string; error: unknown }[] = []
    for (const row of rows) {
      try {
        sent += await send([row])
        failures.delete(row.id)
      } catch (error) {
        failed.push({ id: row.id, error })
        await Promise.all([events.check(), repository.health.check()])
      }
    }
    if (sent === 0) throw reason
    for (const { id, error } of failed) {
      const tries = (failures.get(id) ?? 0) + 1
      failures.set(id, tries)
      if (tries < MOST_TRIES) continue
      await repository.outbox.setAside(id)
      failures.delete(id)
      log.error({ err: error, id }, 'relay: the events of this object cannot be sent and are set aside')
    }
    return sent
  }

  async function loop(pause: number): Promise<void> {
    let next = PAUSE_MS
    try {
      const sent = await run()
      if (sent > 0) log.info({ sent }, 'relay: sent events that were owed')
    } catch (error) {
      next = Math.min(pause * 2, LONGEST_PAUSE_MS)
      log.warn({ err: error }, 'relay: events could not be sent, trying again')
    }
    schedule(next)
  }

  function schedule(pause: number): void {
    if (stopped) return
    timer = setTimeout(() => {
      running = loop(pause)
    }, pause)
  }

  return {
    announce(row) {
      waiting.push({ row, end: beginForRequest('events') })
      announcing ??= unrecorded(sendWaiting)
    },
    send,
    run,
    start: () => schedule(PAUSE_MS),
    async stop() {
      stopped = true
      clearTimeout(timer)
      await announcing
      await settling
      await running
    },
  }
}
