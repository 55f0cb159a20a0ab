/** Sends what rows owe: at once after a change, and again later for whatever did not go through then. */
import type { EventBus, MediaEvent } from '../events/events.ts'
import type { Log } from '../log.ts'
import { beginForRequest, timed, unrecorded } from '../observe/record.ts'
import type { Repository } from './repository.ts'

export type Relay = {
  /** Sends the events of a row that was just changed, in the background; never fails. */
  announce(row: { outbox: MediaEvent[] }): void
  /** Sends all that these rows owe, oldest first, and takes it off them. Throws where the bus or database fails. */
  send(rows: readonly { outbox: MediaEvent[] }[]): Promise<number>
  /** Sends what is due, until nothing is. Returns how many events were sent; throws where the bus or database fails. */
  run(): Promise<number>
  /** Repeats `run` until `stop`. */
  start(): void
  /** Resolves when nothing is being sent any more. */
  stop(): Promise<void>
}

const BATCH_ROWS = 100
const PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 5000

/** `end` tells the request that changed the row that its events are out, or that they stay owed. */
type Announced = { row: { outbox: MediaEvent[] }; end: (failed?: boolean) => void }

export function createRelay(deps: { repository: Repository; events: EventBus; log: Log }): Relay {
  const { repository, events, log } = deps
  let waiting: Announced[] = []
  let announcing: Promise<void> | undefined
  let running: Promise<unknown> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let stopped = false

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
      while (waiting.length > 0) {
        batch = waiting.splice(0, BATCH_ROWS)
        await send(batch.map(({ row }) => row))
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

  async function run(): Promise<number> {
    let sent = 0
    for (;;) {
      const rows = await repository.claimOwed(BATCH_ROWS)
      if (rows.length === 0) return sent
      sent += await send(rows)
    }
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
      await running
    },
  }
}
