/** The followers of events in this process: one reader of the log serves them all, each through its own queue. */
import { compareIds, type Entry, FOLLOWER_EVENTS, type Followed, type Following } from './events.ts'

export type Followers = {
  /** Adds a follower whose first item is `first`; it leaves when its `ending` is aborted. */
  follow(userId: string, first: Followed, options: Following): AsyncIterable<Followed>
  /** Queues an entry for the followers of its owner. */
  deliver(entry: Entry): void
  /** Sends a `reset` to all followers after the log was lost, and continues after this id. */
  reset(id: string): void
}

/** The log, for reading by followers. */
type Log = {
  /** The id up to which everything has been delivered. */
  position(): string
  /**
   * A page of this owner's entries after `from` and up to `to`; `end`: the last id covered. `whole`: the log still
   * reached back to `from` after the read, so no entry is missing.
   */
  read(userId: string, from: string, to: string): Promise<{ entries: Entry[]; end: string; whole: boolean }>
}

type Follower = {
  userId: string
  queue: Followed[]
  /** Whether it gets delivered entries; until then it reads the log itself. */
  live: boolean
  ending: AbortController
  /** Called when the queue gets an item. */
  wake: () => void
}

// Pause after a failed read of the log.
const RETRY_MS = 1000

export function createFollowers(log: Log): Followers {
  const byOwner = new Map<string, Set<Follower>>()

  return {
    follow(userId, first, { ending, silenceMs }) {
      return served(log, join(byOwner, userId, ending), first, silenceMs)
    },

    deliver(entry) {
      for (const follower of byOwner.get(entry.event.payload.userId) ?? []) {
        if (!follower.live) continue
        if (follower.queue.length >= FOLLOWER_EVENTS) follower.ending.abort()
        else {
          follower.queue.push({ kind: 'event', ...entry })
          follower.wake()
        }
      }
    },

    reset(id) {
      for (const ofOwner of byOwner.values()) {
        for (const follower of ofOwner) {
          follower.live = true
          follower.queue = [{ kind: 'reset', id }]
          follower.wake()
        }
      }
    },
  }
}

function join(byOwner: Map<string, Set<Follower>>, userId: string, ending: AbortController): Follower {
  const follower: Follower = { userId, queue: [], live: false, ending, wake() {} }
  const ofOwner = byOwner.get(userId) ?? new Set()
  byOwner.set(userId, ofOwner.add(follower))
  const leave = () => {
    follower.queue = []
    follower.wake()
    ofOwner.delete(follower)
    if (ofOwner.size === 0 && byOwner.get(userId) === ofOwner) byOwner.delete(userId)
  }
  ending.signal.addEventListener('abort', leave, { once: true })
  if (ending.signal.aborted) leave()
  return follower
}

/** The items of one follower: it reads the log itself up to the position, then its queue. */
async function* served(log: Log, follower: Follower, first: Followed, silenceMs: number) {
  const { ending } = follower
  const { signal } = ending
  try {
    yield first
    let at = first.id
    while (!signal.aborted && !follower.live) {
      const to = log.position()
      // No await between this check and the next delivery, so that no entry is missed between them.
      if (compareIds(at, to) >= 0) {
        follower.live = true
        break
      }
      const page = await log.read(follower.userId, at, to).catch(() => undefined)
      if (page === undefined) await untilWoken(follower, RETRY_MS)
      if (page?.whole === false) {
        // The log was trimmed past this slow follower: it starts again at the end.
        at = log.position()
        yield { kind: 'reset' as const, id: at }
        continue
      }
      for (const entry of page?.entries ?? []) yield { kind: 'event' as const, ...entry }
      at = page?.end ?? at
      if (!follower.live) yield { kind: 'position' as const, id: at }
    }
    while (!signal.aborted) {
      if (follower.queue.length === 0) await untilWoken(follower, silenceMs)
      if (signal.aborted) return
      yield follower.queue.shift() ?? { kind: 'position' as const, id: log.position() }
    }
  } finally {
    ending.abort()
  }
}

/** Resolves when the queue gets an item, the follower leaves, or the time is over. */
async function untilWoken(follower: Follower, ms: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    follower.wake = () => {
      clearTimeout(timer)
      resolve()
    }
  })
  follower.wake = () => {}
}
