/** Reads the stream of events for all followers in this process, over one connection, while there are any. */
import type { Log } from '../log.ts'
import { unrecorded } from '../telemetry/record.ts'
import { compareIds, type Entry, type Followed, type Following } from './events.ts'
import { createFollowers, type Followers } from './followers.ts'

/** The stream; calls reject within seconds when Redis does not answer. */
export type StreamAccess = {
  /** The ids of the first and last entry (`0-0` if there is none), and whether entries may have been trimmed. */
  ends(): Promise<{ first: string; last: string; trimmed: boolean }>
  /** Up to `count` entries after `from` and up to `to`; null stands for foreign data. */
  range(from: string, to: string, count: number): Promise<[id: string, Entry | null][]>
  /** Opens a separate connection for `next`. */
  connect(): Promise<StreamConnection>
}

export type StreamConnection = {
  /** Waits some seconds for up to `count` entries after `from`; returns none if none come. */
  next(from: string, count: number): Promise<[id: string, Entry | null][]>
  close(): void
}

export type StreamReader = {
  follow(userId: string, options: Following): Promise<AsyncIterable<Followed>>
  close(): void
}

type Run = { position: string; known: Promise<void>; stop: AbortController }

// About 0.5 MB. Reading a page delays other commands of Redis by milliseconds.
const PAGE_ENTRIES = 500
const RETRY_MS = 500
const NOTHING = '0-0'

type Deps = { stream: StreamAccess; log: Log; followers: Pick<Followers, 'deliver' | 'reset'> }

export function createStreamReader({ stream, log }: { stream: StreamAccess; log: Log }): StreamReader {
  let run: Run | undefined
  let followed = 0
  const followers = createFollowers({
    position: () => run?.position ?? NOTHING,
    read: (userId, from, to) => readPage(stream, userId, { from, to }),
  })

  function stop(): void {
    run?.stop.abort()
    run = undefined
  }

  return {
    async follow(userId, options) {
      const { after, ending } = options
      followed += 1
      const leave = () => {
        followed -= 1
        if (followed === 0) stop()
      }
      ending.signal.addEventListener('abort', leave, { once: true })
      if (ending.signal.aborted) leave()
      run ??= begin({ stream, log, followers })
      const current = run
      try {
        await current.known
        const { whole } = await reaches(stream, after ?? current.position)
        const id = whole ? (after ?? current.position) : current.position
        return followers.follow(userId, { kind: whole ? 'position' : 'reset', id }, options)
      } catch (error) {
        ending.abort()
        throw error
      }
    },

    close: stop,
  }
}

/** A page for one follower that reads the stream itself. */
async function readPage(stream: StreamAccess, userId: string, { from, to }: { from: string; to: string }) {
  const page = await stream.range(from, to, PAGE_ENTRIES)
  const { whole } = await reaches(stream, from)
  const entries = page.flatMap(([, entry]) => (entry?.event.payload.userId === userId ? [entry] : []))
  return { entries, end: page.length < PAGE_ENTRIES ? to : (page.at(-1)?.[0] ?? to), whole }
}

/** Whether the stream still has every entry after this id. */
async function reaches(stream: StreamAccess, id: string): Promise<{ whole: boolean; last: string }> {
  const { first, last, trimmed } = await stream.ends()
  const begun = id === NOTHING ? !trimmed : compareIds(first, id) <= 0
  return { whole: begun && compareIds(id, last) <= 0, last }
}

function begin(deps: Deps): Run {
  const begun: Run = { position: NOTHING, known: Promise.resolve(), stop: new AbortController() }
  begun.known = deps.stream.ends().then(({ last }) => {
    begun.position = last
    // The reader serves many requests, so its time belongs to no single one.
    if (!begun.stop.signal.aborted) void unrecorded(() => read(deps, begun))
  })
  return begun
}

/** Reads while there are followers; after an outage it continues at its position. */
async function read(deps: Deps, current: Run): Promise<void> {
  const { signal } = current.stop
  let told = false
  while (!signal.aborted) {
    let connection: StreamConnection | undefined
    try {
      connection = await deps.stream.connect()
      const opened = connection
      signal.addEventListener('abort', opened.close, { once: true })
      await resetUnlessWhole(deps, current)
      while (!signal.aborted) {
        const page = await opened.next(current.position, PAGE_ENTRIES)
        // Trimming can only overtake a reader that is behind, and only such a reader gets a full page.
        if (page.length === PAGE_ENTRIES && (await resetUnlessWhole(deps, current))) continue
        for (const [id, entry] of page) {
          current.position = id
          if (entry !== null) deps.followers.deliver(entry)
        }
        told = false
      }
    } catch (error) {
      if (!signal.aborted && !told) deps.log.warn({ err: error }, 'redis: the stream of events cannot be read')
      told = true
    } finally {
      if (connection !== undefined) signal.removeEventListener('abort', connection.close)
      connection?.close()
    }
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

/** True when the stream was trimmed past the position: followers get a `reset`, and reading continues at the end. */
async function resetUnlessWhole({ stream, followers }: Deps, current: Run): Promise<boolean> {
  const { whole, last } = await reaches(stream, current.position)
  if (whole || current.stop.signal.aborted) return false
  current.position = last
  followers.reset(last)
  return true
}
