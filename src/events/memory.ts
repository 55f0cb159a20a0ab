/** The event bus within this process, for the embedded default. */
import { compareIds, type Entry, type EventBus, type MediaEvent } from './events.ts'
import { createFollowers } from './followers.ts'

export type MemoryEventBus = EventBus & {
  /** Calls the listener with each event from now on; returns a function that unsubscribes it. */
  subscribe(listener: (event: MediaEvent) => void): () => void
}

// About 1 MB of events is kept for followers that resume.
const LOG_LENGTH = 1000

export function createMemoryEventBus(): MemoryEventBus {
  const listeners = new Set<(event: MediaEvent) => void>()
  const log: Entry[] = []
  // Ids begin with the start time, so that no id of an earlier process is mistaken for one of this log.
  const start = Date.now()
  let count = 0
  let forgotten = `${start}-0`
  const last = () => `${start}-${count}`
  const followers = createFollowers({
    position: last,
    async read(userId, from, to) {
      const between = ({ id }: Entry) => compareIds(id, from) > 0 && compareIds(id, to) <= 0
      const entries = log.filter((entry) => entry.event.payload.userId === userId && between(entry))
      return { entries, end: to, whole: compareIds(from, forgotten) >= 0 }
    },
  })

  return {
    name: 'memory',

    async publish(events) {
      for (const event of events) {
        count += 1
        const entry = { id: last(), event }
        log.push(entry)
        if (log.length > LOG_LENGTH) forgotten = log.shift()?.id ?? forgotten
        for (const listener of listeners) listener(event)
        followers.deliver(entry)
      }
    },

    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },

    async follow(userId, options) {
      const { after = last() } = options
      const whole = compareIds(after, forgotten) >= 0 && compareIds(after, last()) <= 0
      return followers.follow(userId, whole ? { kind: 'position', id: after } : { kind: 'reset', id: last() }, options)
    },

    async check() {},

    async close() {
      listeners.clear()
    },
  }
}
