/** What happens to a caller's own objects, as it happens: who may listen, how many times, and until when. */
import type { Caller } from '../../auth/caller.ts'
import type { EventBus, Followed } from '../../events/events.ts'
import { Problem } from '../../problem.ts'
import { timed } from '../../telemetry/record.ts'

export type LiveEvents = {
  /**
   * What `EventBus.follow` gives of the caller's own. It ends when `ending` is aborted: by whoever asked, when the
   * credentials expire, after an hour, when the service stops, or when too much has not been taken.
   * @param after as `EventBus.follow` takes it
   * @throws Problem `rate_limited` when the caller has as many open as it may, `overloaded` when there are none to be had
   */
  open(caller: Caller, after: string | undefined): Promise<LiveStream>
  /** How many are open. */
  count(): number
  /** Ends all of them; no more are opened. */
  stop(): void
}

export type LiveStream = { followed: AsyncIterable<Followed>; ending: AbortController }

/** Of one caller, in one process. */
const MOST_STREAMS = 10
/** Proxies and servers give up connections on which nothing comes for a minute or more. */
const HEARTBEAT_MS = 15_000
// A gateway, or the auth service, says anew who is let in.
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
