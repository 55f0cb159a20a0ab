/** The relay: sends the events in the rows' outboxes, at once after a change, and again later if that failed. */
import { createAnnouncer } from './announce.ts'
import { type Owing, type Sending, send } from './send.ts'
import { type Failures, sendDue } from './send-due.ts'

export type Relay = {
  /** Sends the events of a row that was just changed, in the background. Never fails. */
  announce(row: Owing): void
  /**
   * Sends all events that these rows owe, oldest first, and removes them from the outboxes. Returns how many.
   * @throws when the bus or the database fails
   */
  send(rows: readonly Owing[]): Promise<number>
  /**
   * Sends due events until none is due. Returns how many. Sets a row aside if its events alone repeatedly cannot be
   * sent.
   * @throws when the bus or the database fails
   */
  run(): Promise<number>
  /** Repeats `run` until `stop`. */
  start(): void
  /** Stops the loop; resolves when no event is being sent any more. */
  stop(): Promise<void>
}

const PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 5000

export function createRelay(deps: Sending): Relay {
  const announcer = createAnnouncer(deps)
  const failures: Failures = new Map()
  let running: Promise<unknown> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let stopped = false

  const run = () => sendDue(deps, failures)

  async function loop(pause: number): Promise<void> {
    let next = PAUSE_MS
    try {
      const sent = await run()
      if (sent > 0) deps.log.info({ sent }, 'relay: sent events that were owed')
    } catch (error) {
      next = Math.min(pause * 2, LONGEST_PAUSE_MS)
      deps.log.warn({ err: error }, 'relay: events could not be sent, trying again')
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
    announce: announcer.announce,
    send: (rows) => send(deps, rows),
    run,
    start: () => schedule(PAUSE_MS),
    async stop() {
      stopped = true
      clearTimeout(timer)
      await announcer.idle()
      await running
    },
  }
}
