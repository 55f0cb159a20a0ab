/**
 * Where events go: the port, with its contract in prose. Every implementation passes `test/contract/events.test.ts`.
 */
export interface EventBus {
  /** For logs and readiness. */
  readonly name: 'redis' | 'memory'

  /**
   * Sends events in the order given, to who listens now and to the log for who was away. Resolves when all of them
   * are sent; rejects within a second when that is not certain, and then any of them may have been.
   */
  publish(events: readonly MediaEvent[]): Promise<void>

  /** Resolves when events can be sent. */
  check(): Promise<void>

  close(): Promise<void>
}

export const channels = ['photo:uploaded', 'photo:updated', 'photo:deleted', 'photo:restored', 'photo:purged'] as const
export type Channel = (typeof channels)[number]

/** Consumers drop what they have seen by `eventId`, and may order an object's events by `seq`. */
export type MediaEvent = {
  channel: Channel
  payload: {
    id: string
    userId: string
    eventId: string
    /** Counts up by one for each event of the object. */
    seq: number
    /** RFC 3339. */
    occurredAt: string
    [field: string]: unknown
  }
}
