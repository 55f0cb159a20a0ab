/** Events within this process, for the embedded default. */
import type { EventBus, MediaEvent } from './events.ts'

export type MemoryEventBus = EventBus & {
  /** Calls the listener with each event from now on; returns what ends that. */
  subscribe(listener: (event: MediaEvent) => void): () => void
}

export function createMemoryEventBus(): MemoryEventBus {
  const listeners = new Set<(event: MediaEvent) => void>()
  return {
    name: 'memory',
    async publish(events) {
      for (const event of events) for (const listener of listeners) listener(event)
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async check() {},
    async close() {
      listeners.clear()
    },
  }
}
