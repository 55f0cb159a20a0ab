/**
 * Follows what happens to media objects and misses nothing: `REDIS_URL=redis://127.0.0.1:6379 bun examples/consumer.ts`.
 *
 * Start as many as you like: those of one GROUP share the events, and each group gets all of them. What a consumer had
 * taken when it died goes to another one. Each event is handled at least once, and again only when a consumer dies
 * between handling it and saying so: let what you do in `handle` be the same when it is done twice. Events of one
 * object come in order, but not from a consumer to the one that takes over: let a lower `seq` not undo a higher.
 */
import { hostname } from 'node:os'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'

const STREAM = 'media:events'
const { REDIS_URL = 'redis://127.0.0.1:6379', GROUP = 'example', CLAIM_AFTER_MS = '30000' } = process.env
const NAME = `${hostname()}-${process.pid}`
const BATCH = 50
const BLOCK_MS = 1000
// Longer than any event can come a second time: the service sends again within seconds of Redis being back.
const REMEMBER_SECONDS = 24 * 3600

type MediaEvent = { id: string; eventId: string; seq: number; [field: string]: unknown }

/** Your part. */
async function handle(channel: string, event: MediaEvent): Promise<void> {
  console.log(channel, event.id, event.seq, event.eventId)
}

const redis = new Redis(REDIS_URL)
redis.on('error', (error) => console.error(`redis: ${error.message}`))
let stopping = false
process.once('SIGTERM', () => {
  stopping = true
})
process.once('SIGINT', () => {
  stopping = true
})

while (!stopping) {
  try {
    await createGroup()
    while (!stopping) {
      await handleAll(await takeOver())
      await handleAll(await readNew())
    }
  } catch (error) {
    console.error(`trying again: ${error instanceof Error ? error.message : error}`)
    await sleep(1000)
  }
}
redis.disconnect()

type Entry = [id: string, fields: string[]]

/** From the beginning of the stream; a group that is there already keeps its place. */
async function createGroup(): Promise<void> {
  await redis.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM').catch((error: Error) => {
    if (!error.message.startsWith('BUSYGROUP')) throw error
  })
}

/** What others took and have not finished for so long that they must be dead. */
async function takeOver(): Promise<Entry[]> {
  const [, entries] = (await redis.xautoclaim(STREAM, GROUP, NAME, CLAIM_AFTER_MS, '0', 'COUNT', BATCH)) as [
    string,
    (Entry | null)[],
  ]
  // Redis 6.2 gives null for an entry that was trimmed away meanwhile.
  return entries.filter((entry) => entry !== null)
}

async function readNew(): Promise<Entry[]> {
  const options = ['COUNT', BATCH, 'BLOCK', BLOCK_MS, 'STREAMS', STREAM, '>'] as const
  const streams = (await redis.xreadgroup('GROUP', GROUP, NAME, ...options)) as [string, Entry[]][] | null
  return streams?.[0]?.[1] ?? []
}

/** One after the other, so that events of an object keep their order. */
async function handleAll(entries: Entry[]): Promise<void> {
  for (const [entry, [, channel = '', , payload = '{}']] of entries) {
    const event: MediaEvent = JSON.parse(payload)
    const seen = `${GROUP}:seen:${event.eventId}`
    if (!(await redis.exists(seen))) await handle(channel, event)
    // After it was handled, never before: what dies between the two is handled again, not lost.
    await redis.multi().set(seen, '1', 'EX', REMEMBER_SECONDS).xack(STREAM, GROUP, entry).exec()
  }
}
