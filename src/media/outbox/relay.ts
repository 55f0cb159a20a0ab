/** Sends what rows owe: at once after a change, and again later for whatever did not go through then. */
import { setImmediate as turn } from 'node:timers/promises'
import { violates } from '../../db/connect.ts'
import type { EventBus, MediaEvent } from '../../events/events.ts'
import type { Log } from '../../log.ts'
import { beginForRequest, timed, unrecorded } from '../../telemetry/record.ts'
import type { Repository } from '../table/repository.ts'
import { SHAPES } from '../table/shapes.ts'
import type { OwingRow } from '../table/upkeep.ts'

export type Relay = {
  /** Sends the events of a row that was just changed, in the background; never fails. */
  announce(row: { outbox: MediaEvent[] }): void
  /** Sends all that these rows owe, oldest first, and takes it off them. Throws where the bus or database fails. */
  send(rows: readonly { outbox: MediaEvent[] }[]): Promise<number>
  /**
   * Sends what is due, until nothing is. Returns how many events were sent; throws where the bus or database fails. A row
   * whose events alone cannot be sent, time and again, is set aside.
   */
  run(): Promise<number>
  /** Repeats `run` until `stop`. */
  start(): void
  /** Resolves when nothing is being sent any more. */
  stop(): Promise<void>
}

const BATCH_ROWS = 100
const PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 5000
// How often a row fails while others go through before it is set aside.
const MOST_TRIES = 3

/** `end` tells the request that changed the row that its events are out, or that they stay owed. */
type Announced = { row: { outbox: MediaEvent[] }; end: (failed?: boolean) => void }

export function createRelay(deps: { repository: Repository; events: EventBus; log: Log }): Relay {
  const { repository, events, log } = deps
  let waiting: Announced[] = []
  let announcing: Promise<void> | undefined
  /** Sent, and to be taken off their rows. */
  let sent: MediaEvent[] = []
  /** The ids of those, and of those that are being taken off. */
  const unsettled = new Set<string>()
  let settling: Promise<void> | undefined
  let running: Promise<unknown> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let stopped = false
  /** How often a row has failed while others went through. */
  const failures = new Map<string, number>()

  /** Each row's list goes out whole and oldest first, so that no event overtakes one before it. */
  async function send(rows: readonly { outbox: MediaEvent[] }[]): Promise<number> {
    const owed = rows.flatMap(({ outbox }) => outbox)
    if (owed.length === 0) return 0
    await timed('events', () => events.publish(owed))
    await repository.settle(owed)
    return owed.length
  }

  /** One batch at a time: what comes while one is sent goes into the next. */
  async function sendWaiting(): Promise<void> {
    let batch: Announced[] = []
    try {
      // The rows that one statement has changed are announced one after the other.
      await turn()
      while (waiting.length > 0) {
        batch = waiting.splice(0, BATCH_ROWS)
        // A row that was changed again soon still has what was sent a moment ago.
        const owed = batch.flatMap(({ row }) => row.outbox).filter(({ payload }) => !unsettled.has(payload.eventId))
        if (owed.length > 0) await timed('events', () => events.publish(owed))
        for (const { payload } of owed) unsettled.add(payload.eventId)
        sent.push(...owed)
        settling ??= settleSent()
        for (const { end } of batch.splice(0)) end()
      }
    } catch (error) {
      for (const { end } of [...batch, ...waiting]) end(true)
      // Owed on their rows, so they are due again soon; holding them here too would only fill memory.
      waiting = []
      log.warn({ err: error }, 'relay: events not sent, they stay owed')
    } finally {
      announcing = undefined
    }
  }

  /** Takes off their rows what has been sent, at once; what is sent meanwhile goes with the next statement. */
  async function settleSent(): Promise<void> {
    while (sent.length > 0) {
      const batch = sent
      sent = []
      try {
        await repository.settle(batch)
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
      return await repository.claimOwed(BATCH_ROWS)
    } catch (error) {
      // One that has not the shapes the database asks for keeps all of them from being claimed.
      if (!violates(error, SHAPES) || (await repository.mendOwing(BATCH_ROWS)) === 0) throw error
      return repository.claimOwed(BATCH_ROWS)
    }
  }

  /**
   * Row by row, after they could not be sent together for this reason. Where none can be sent, or bus or database do not
   * answer, they are to blame and it throws. Else a row that has failed `MOST_TRIES` times is set aside.
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
        await Promise.all([events.check(), repository.check()])
      }
    }
    if (sent === 0) throw reason
    for (const { id, error } of failed) {
      const tries = (failures.get(id) ?? 0) + 1
      failures.set(id, tries)
      if (tries < MOST_TRIES) continue
      await repository.setAside(id)
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
