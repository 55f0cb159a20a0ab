/** Live streams of the events of a caller's own objects, with limits on their number and duration. */
import type { Caller } from '../../auth/caller.ts'
import type { EventBus, Followed } from '../../events/events.ts'
import { Problem } from '../../problem.ts'
import { timed } from '../../telemetry/record.ts'

export type LiveEvents = {
  /**
   * Opens a stream of the caller's own events, as `EventBus.follow` gives them. It ends when `ending` is aborted: by
   * the consumer, when the credentials expire, after an hour, when the service stops, or when the consumer falls too
   * far behind.
   * @param after as `EventBus.follow` takes it
   * @throws Problem `rate_limited` when the caller has too many streams open, `overloaded` when events cannot be read
   * or the service is stopping
   */
  open(caller: Caller, after: string | undefined): Promise<LiveStream>
  /** The number of open streams. */
  count(): number
  /** Ends all streams, and refuses new ones. */
  stop(): void
}

export type LiveStream = { followed: AsyncIterable<Followed>; ending: AbortController }

/** Per caller and process. */
const MOST_STREAMS = 10
/** Proxies and servers close connections that are silent for a minute or more. */
const HEARTBEAT_MS = 15_000
// The client then reconnects, and the gateway or the auth service decides anew.
const LONGEST_MS = 3_600_000

export function createLiveEvents({ events }: { events: Pick<EventBus, 'follow'> }): LiveEvents {
  const open = new Map<string, Set<AbortController>>()
  let stopped = false

  function enter({ userId, expires = Number.POSITIVE_INFINITY }: Caller): AbortController {
    const ofCaller = open.get(userId) ?? new Set()
    if (ofCaller.size >= MOST_STREAMS)
      throw new Problem('rate_limited', `There may be ${MOST_STREAMS} open streams of events.`)
    const ending = new AbortController()
    open.set(userId, ofCaller.add(ending))
    const timer = setTimeout(() => ending.abort(), Math.min(expires - Date.now(), LONGEST_MS))
    const leave = () => {
      clearTimeout(timer)
      ofCaller.delete(ending)
      if (ofCaller.size === 0) open.delete(userId)
    }
    ending.signal.addEventListener('abort', leave, { once: true })
    return ending
  }

  return {
    async open(caller, after) {
      if (stopped) throw new Problem('overloaded', 'This replica is stopping. Try again.', { retryAfterSeconds: 1 })
      const ending = enter(caller)
      try {
        const options = { after, ending, silenceMs: HEARTBEAT_MS }
        return { followed: await timed('events', () => events.follow(caller.userId, options)), ending }
      } catch (cause) {
        ending.abort()
        throw new Problem('overloaded', 'Events cannot be read at the moment. Try again.', { cause })
      }
    },

    count() {
      return [...open.values()].reduce((sum, { size }) => sum + size, 0)
    },

    stop() {
      stopped = true
      for (const ending of [...open.values()].flatMap((ofCaller) => [...ofCaller])) ending.abort()
    },
  }
}
