import { GetObjectCommand, ListObjectsV2Command, NoSuchKey, S3Client } from '@aws-sdk/client-s3'
import { Redis } from 'ioredis'
import postgres from 'postgres'
import type { Services } from '../services/services.ts'

export type Stored = { bytes: Uint8Array; type: string | undefined; disposition: string | undefined }

export type Row = {
  id: string
  user_id: string
  original_name: string
  mime_type: string
  size_bytes: number | null
  storage_key: string
  metadata: Record<string, unknown>
  created_at: Date
  status: 'pending' | 'active' | 'deleted' | 'purging'
  visibility: 'private' | 'public'
  status_changed_at: Date
  links_until: Date
  outbox: unknown[]
  outbox_due_at: Date | null
  event_seq: number
}

export type Event = { channel: string; payload: Record<string, unknown> }

export type Inside = Awaited<ReturnType<typeof lookInside>>

/** Looks at what the service left in its database, its bucket and Redis, with connections of its own. */
export async function lookInside(services: Services, env: Record<string, string>) {
  const { DATABASE_URL = '', S3_BUCKET: Bucket = '' } = env
  const sql = postgres(DATABASE_URL, {
    max: 2,
    onnotice: () => {},
    types: { bigint: { to: 20, from: [20], serialize: String, parse: Number } },
  })
  const { endpoint, region, ...credentials } = services.s3
  const s3 = new S3Client({
    endpoint,
    region,
    credentials,
    forcePathStyle: true,
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  const redis = new Redis(services.redisUrl)
  const subscriber = new Redis(services.redisUrl)
  const heard: Event[] = []
  subscriber.on('pmessage', (_pattern, channel: string, json: string) => {
    heard.push({ channel, payload: JSON.parse(json) })
  })
  await subscriber.psubscribe('photo:*')
  // All tests share the stream, and each reading would go through what was left by those long over. Its ids are times.
  const since = Date.now() - 60_000

  return {
    async rowOf(id: string): Promise<Row | undefined> {
      const [row] = await sql<Row[]>`SELECT * FROM media_objects WHERE id = ${id}`
      return row
    },

    async rowsOf(userId: string): Promise<Row[]> {
      return sql<Row[]>`SELECT * FROM media_objects WHERE user_id = ${userId} ORDER BY id`
    },

    /** Does something while a row is locked, as by a transaction of somebody else. */
    async whileLocked(id: string, work: () => Promise<void>): Promise<void> {
      await sql.begin(async (transaction) => {
        await transaction`SELECT FROM media_objects WHERE id = ${id} FOR UPDATE`
        await work()
      })
    },

    /** What is stored under a key, and what the store says of it by itself; null when nothing is. */
    async storedUnder(key: string): Promise<Stored | null> {
      try {
        const { Body, ContentType, ContentDisposition } = await s3.send(new GetObjectCommand({ Bucket, Key: key }))
        const bytes = (await Body?.transformToByteArray()) ?? new Uint8Array()
        return { bytes, type: ContentType, disposition: ContentDisposition }
      } catch (error) {
        if (error instanceof NoSuchKey) return null
        throw error
      }
    },

    /** The keys in the bucket below a prefix, all of them without one; 1,000 at most. */
    async keys(Prefix = ''): Promise<string[]> {
      const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix }))
      return Contents.map(({ Key = '' }) => Key)
    },

    /** The events of an object that a subscriber has heard so far, in that order, without repetitions. */
    heard(id: string): Event[] {
      return once(heard.filter(({ payload }) => payload.id === id))
    },

    /** The same from the stream `media:events`, up to a minute before this was opened. */
    async streamed(id: string): Promise<Event[]> {
      const entries = await redis.xrange('media:events', since, '+')
      return once(entries.map(([, fields]) => toEvent(fields)).filter(({ payload }) => payload.id === id))
    },

    async close(): Promise<void> {
      redis.disconnect()
      subscriber.disconnect()
      s3.destroy()
      await sql.end({ timeout: 1 })
    },
  }
}

function toEvent([, channel = '', , payload = '{}']: string[]): Event {
  return { channel, payload: JSON.parse(payload) }
}

/** Events come at least once, so consumers drop those whose `eventId` they have seen. */
function once(events: Event[]): Event[] {
  const seen = new Set<unknown>()
  return events.filter(({ payload: { eventId } }) => !seen.has(eventId) && seen.add(eventId))
}
