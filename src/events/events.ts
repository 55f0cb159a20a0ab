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

  /**
   * What happens to one owner's objects, in the order of the log: from now on, or all after the id `after`. Resolves when
   * it is listening, so that nothing is missed which is published from then on; rejects when the log can't be read.
   *
   * First comes a `position`, or a `reset` when the log does not go back to `after` (or never knew it). Then each event
   * of this owner, once, and no other's, and after every `silenceMs` without one a `position`: how far the log has been
   * gone through. Whoever follows from any of these ids gets exactly what came after it. While the log can't be read, only
   * positions come; afterwards it goes on where it was, or with a `reset` when the log was lost meanwhile.
   *
   * It lasts until `ending` is aborted, by the caller or from here: who is more than `FOLLOWER_EVENTS` behind is dropped.
   * @param options.after two numbers of up to 15 digits with a hyphen between
   */
  follow(userId: string, options: Following): Promise<AsyncIterable<Followed>>

  /** Resolves when events can be sent. */
  check(): Promise<void>

  close(): Promise<void>
}

/** Most events that wait for one follower to take them. */
export const FOLLOWER_EVENTS = 1000

export type Following = { after: string | undefined; ending: AbortController; silenceMs: number }

/** Ids are those of a Redis stream: milliseconds, a hyphen and a number, ascending within one log. */
export type Entry = { id: string; event: MediaEvent }
export type Followed = { kind: 'position'; id: string } | { kind: 'reset'; id: string } | ({ kind: 'event' } & Entry)

/** Negative when `a` comes before `b`, 0 when they are the same. */
export function compareIds(a: string, b: string): number {
  const [aTime = 0, aNumber = 0] = a.split('-').map(Number)
  const [bTime = 0, bNumber = 0] = b.split('-').map(Number)
  return aTime - bTime || aNumber - bNumber
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
