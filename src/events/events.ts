/**
 * The event bus's port, with its contract. Every implementation passes `test/contract/events.test.ts`.
 */
export interface EventBus {
  /** For logs and readiness. */
  readonly name: 'redis' | 'memory'

  /**
   * Sends events in the given order, to live subscribers and to the log, for consumers that were offline. Resolves when
   * all of them are sent; rejects within a second when that is uncertain, and then any of them may have been sent.
   */
  publish(events: readonly MediaEvent[]): Promise<void>

  /**
   * The events of one owner's objects, in the order of the log: from now on, or all after the id `after`. Resolves once
   * it listens, so that no event published afterwards is missed; rejects when the log cannot be read.
   *
   * The first item is a `position`, or a `reset` when the log does not reach back to `after` (or never had it). Then
   * each event of this owner follows once, and after every `silenceMs` without one a `position`: how far the log has
   * been read. A follower that resumes from any of these ids gets exactly the events after it. While the log cannot be
   * read, only positions come; afterwards the events continue, or a `reset` follows if the log was lost meanwhile.
   *
   * It lasts until `ending` is aborted, by the caller or by the bus: a follower more than `FOLLOWER_EVENTS` behind is
   * dropped.
   * @param options.after two numbers of up to 15 digits, joined by a hyphen
   */
  follow(userId: string, options: Following): Promise<AsyncIterable<Followed>>

  /** Resolves when the bus can send events. */
  check(): Promise<void>

  close(): Promise<void>
}

/** Most events queued for one follower. */
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

/** Consumers drop duplicates by `eventId`, and may order an object's events by `seq`. */
export type MediaEvent = {
  channel: Channel
  payload: {
    id: string
    userId: string
    eventId: string
    /** Increases by one with each event of the object. */
    seq: number
    /** RFC 3339. */
    occurredAt: string
    [field: string]: unknown
  }
}
