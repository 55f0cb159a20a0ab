import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'

export type Announced = { channel: string; id: string; eventId: string; seq: number; originalName: string | undefined }

export type StreamReader = {
  /** All events of the stream so far, as they were appended, repeated ones included. */
  readonly events: Announced[]
  /** Reads what there is by now, and ends. */
  stop(): Promise<void>
}

/** Follows the stream of events all the time, since the stream itself is capped. Waits while Redis is down. */
export function followStream(url: string): StreamReader {
  const redis = new Redis(url, { maxRetriesPerRequest: 1, commandTimeout: 2000, retryStrategy: () => 100 })
  redis.on('error', () => {})
  const events: Announced[] = []
  let last = '-'
  let stopping = false

  async function readOn(): Promise<void> {
    for (;;) {
      const entries = await redis.xrange('media:events', last === '-' ? '-' : `(${last}`, '+', 'COUNT', 1000)
      for (const [entry, fields] of entries) {
        events.push(toAnnounced(fields))
        last = entry
      }
      if (entries.length === 0) return
    }
  }

  const following = (async () => {
    while (!stopping) {
      await readOn().catch(() => {})
      await sleep(200)
    }
    await readOn()
  })()

  return {
    events,
    async stop() {
      stopping = true
      await following
      redis.disconnect()
    },
  }
}

function toAnnounced([, channel = '', , payload = '{}']: string[]): Announced {
  const { id, eventId, seq, originalName } = JSON.parse(payload)
  return { channel, id, eventId, seq, originalName }
}
