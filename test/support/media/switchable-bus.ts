import type { EventBus, MediaEvent } from '../../../src/events/events.ts'
import { createMemoryEventBus } from '../../../src/events/memory.ts'

export type SwitchableBus = EventBus & {
  /** What went through, in order. */
  sent: MediaEvent[]
  /** Rejects from now on, as Redis does while it is down. */
  fail(): void
  /** What is given from now on waits, and so does the caller, until `work`. */
  hold(): void
  work(): void
}

/** The memory event bus, with outages. */
export function createSwitchableBus(): SwitchableBus {
  const bus = createMemoryEventBus()
  const sent: MediaEvent[] = []
  bus.subscribe((event) => sent.push(event))
  let state: 'works' | 'fails' | Promise<void> = 'works'
  let release = () => {}
  return {
    ...bus,
    sent,
    async publish(events) {
      if (state === 'fails') throw new Error('the bus is down')
      await state
      await bus.publish(events)
    },
    fail() {
      state = 'fails'
    },
    hold() {
      state = new Promise((resolve) => {
        release = resolve
      })
    },
    work() {
      state = 'works'
      release()
    },
  }
}
