/** Reads the stream of events for all who follow them in this process, over one connection, while there is anybody. */
import type { Log } from '../log.ts'
import { unrecorded } from '../telemetry/record.ts'
import { compareIds, type Entry, type Followed, type Following } from './events.ts'
import { createFollowers } from './followers.ts'

/** The stream; calls reject within seconds when Redis does not answer. */
export type StreamAccess = {
  /** The ids of the first and last entry, `0-0` where there is none, and whether any may have been trimmed away. */
  ends(): Promise<{ first: string; last: string; trimmed: boolean }>
  /** The entries after `from` and up to `to`, `count` at most; null stands for what is no event. */
  range(from: string, to: string, count: number): Promise<[id: string, Entry | null][]>
  /** A connection of its own for `next`. */
  connect(): Promise<StreamConnection>
}

export type StreamConnection = {
  /** Waits for entries after `from`, `count` at most; none when there are none within some seconds. */
  next(from: string, count: number): Promise<[id: string, Entry | null][]>
  close(): void
}

export type StreamReader = {
  follow(userId: string, options: Following): Promise<AsyncIterable<Followed>>
  close(): void
}

type Run = { position: string; known: Promise<void>; stop: AbortController }

// About 0.5 MB. A page holds up what else is asked of Redis for milliseconds.
const PAGE_ENTRIES = 500
const RETRY_MS = 500
const NOTHING = '0-0'

export function createStreamReader({ stream, log }: { stream: StreamAccess; log: Log }): StreamReader {
  let run: Run | undefined
  let followed = 0
  const followers = createFollowers({
    position: () => run?.position ?? NOTHING,
    async read(userId, from, to) {
      const page = await stream.range(from, to, PAGE_ENTRIES)
      const { whole } = await reaches(from)
      const entries = page.flatMap(([, entry]) => (entry?.event.payload.userId === userId ? [entry] : []))
      return { entries, end: page.length < PAGE_ENTRIES ? to : (page.at(-1)?.[0] ?? to), whole }
    },
  })

  /** Whether nothing is missing of what came after this id, as far as the stream tells. */
  async function reaches(id: string): Promise<{ whole: boolean; last: string }> {
    const { first, last, trimmed } = await stream.ends()
    const begun = id === NOTHING ? !trimmed : compareIds(first, id) <= 0
    return { whole: begun && compareIds(id, last) <= 0, last }
  }

  function begin(): Run {
    const begun: Run = { position: NOTHING, known: Promise.resolve(), stop: new AbortController() }
    begun.known = stream.ends().then(({ last }) => {
      begun.position = last
      // It serves many requests, and none of them more than the others.
      if (!begun.stop.signal.aborted) void unrecorded(() => read(begun))
    })
    return begun
  }

  /** For as long as somebody follows: after an outage it goes on where it was. */
  async function read(current: Run): Promise<void> {
    const { signal } = current.stop
    let told = false
    while (!signal.aborted) {
      let connection: StreamConnection | undefined
      try {
        connection = await stream.connect()
        const opened = connection
        signal.addEventListener('abort', opened.close, { once: true })
        await resetUnlessWhole(current)
        while (!signal.aborted) {
          const page = await opened.next(current.position, PAGE_ENTRIES)
          // Only a reader that is behind gets a full page, and only behind one was the stream cut off by its length.
          if (page.length === PAGE_ENTRIES && (await resetUnlessWhole(current))) continue
          for (const [id, entry] of page) {
            current.position = id
            if (entry !== null) followers.deliver(entry)
          }
          told = false
        }
      } catch (error) {
        if (!signal.aborted && !told) log.warn({ err: error }, 'redis: the stream of events cannot be read')
        told = true
      } finally {
        if (connection !== undefined) signal.removeEventListener('abort', connection.close)
        connection?.close()
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }

  /** True when the stream was cut off behind the position: followers are told, and it goes on at the end. */
  async function resetUnlessWhole(current: Run): Promise<boolean> {
    const { whole, last } = await reaches(current.position)
    if (whole || current.stop.signal.aborted) return false
    current.position = last
    followers.reset(last)
    return true
  }

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
      run ??= begin()
      const current = run
      try {
        await current.known
        const { whole } = await reaches(after ?? current.position)
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
