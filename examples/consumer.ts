/**
 * Follows what happens to media objects and misses nothing: `REDIS_URL=redis://127.0.0.1:6379 bun examples/consumer.ts`.
 *
 * Start as many as you like: those of one GROUP share the events, and each group gets all of them. Objects are divided
 * into PARTITIONS by their ids. A consumer takes a lease on a partition, handles its next events one after the other,
 * keeps its position in the stream after each, and gives the lease back. So the events of one object are handled in order,
 * by one consumer at a time. When a consumer dies its lease runs out, and another one goes on from the position.
 *
 * Each event is handled at least once. It is handled again when `handle` failed, or the consumer died, or stood still for
 * longer than LEASE_MS, before the position was kept: let what `handle` does be the same when it is done twice. While it
 * fails for one event, later events of that partition wait, those of the same object among them; other partitions go on.
 *
 * The stream holds about the last 100,000 events. A group that is away for longer than that misses the oldest.
 */
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'

const STREAM = 'media:events'
const { REDIS_URL = 'redis://127.0.0.1:6379', GROUP = 'example', LEASE_MS = '30000' } = process.env
const leaseMs = Number(LEASE_MS)
const NAME = crypto.randomUUID()
// The same for all consumers of a group, and for ever: with another number, objects would change their partition.
const PARTITIONS = 16
const BATCH = 50
const PAUSE_MS = 1000
// Longer than any event can come a second time: the service sends again within seconds of Redis being back.
const REMEMBER_SECONDS = 24 * 3600

// Each does what it does only while the lease is this consumer's own.
const RENEW = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0"
const RELEASE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"
const KEEP = `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
if KEYS[3] then redis.call('SET', KEYS[3], '1', 'EX', ARGV[3]) end
return 1`

type MediaEvent = { id: string; eventId: string; seq: number; [field: string]: unknown }
type Entry = { position: string; channel: string; event: MediaEvent }

/** Your part. */
async function handle(channel: string, event: MediaEvent): Promise<void> {
  console.log(channel, event.id, event.seq, event.eventId)
}

const redis = new Redis(REDIS_URL)
redis.on('error', (error) => console.error(`redis: ${error.message}`))
let stopping = false
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    stopping = true
  })

while (!stopping) {
  try {
    await handleAll()
  } catch (error) {
    report('trying again', error)
    await sleep(PAUSE_MS)
  }
}
redis.disconnect()

/** All partitions in turn, beginning anywhere; waits when there was nothing to do. */
async function handleAll(): Promise<void> {
  const [newest] = await redis.xrevrange(STREAM, '+', '-', 'COUNT', 1)
  const first = Math.floor(Math.random() * PARTITIONS)
  let handled = 0
  let failed = false
  for (let turn = 0; turn < PARTITIONS && !stopping; turn += 1) {
    const partition = (first + turn) % PARTITIONS
    try {
      handled += await withLease(partition, (holds) => handleNext(partition, holds))
    } catch (error) {
      failed = true
      report(`partition ${partition} waits`, error)
    }
  }
  if (handled > 0 || stopping) return
  if (failed) await sleep(PAUSE_MS)
  else await redis.xread('COUNT', 1, 'BLOCK', PAUSE_MS, 'STREAMS', STREAM, newest?.[0] ?? '0-0')
}

/** Does it if no other consumer has the partition; `holds` tells whether the lease is still there. */
async function withLease(partition: number, work: (holds: () => boolean) => Promise<number>): Promise<number> {
  const lease = leaseOf(partition)
  if ((await redis.set(lease, NAME, 'PX', leaseMs, 'NX')) === null) return 0
  let held = true
  const renew = async () => {
    held &&= (await redis.eval(RENEW, 1, lease, NAME, leaseMs).catch(() => 0)) === 1
  }
  const timer = setInterval(renew, leaseMs / 3)
  try {
    return await work(() => held)
  } finally {
    clearInterval(timer)
    await redis.eval(RELEASE, 1, lease, NAME)
  }
}

/** The next events of a partition, in order, up to the first that fails; the result is how many entries it has passed. */
async function handleNext(partition: number, holds: () => boolean): Promise<number> {
  const position = `${GROUP}:position:${partition}`
  const after = (await redis.get(position)) ?? '0-0'
  const entries = (await redis.xrange(STREAM, `(${after}`, '+', 'COUNT', BATCH)).map(toEntry)
  for (const { position: reached, channel, event } of entries.filter(({ event }) => partitionOf(event) === partition)) {
    if (stopping || !holds()) return 0
    const seen = `${GROUP}:seen:${event.eventId}`
    if (!(await redis.exists(seen))) await handle(channel, event)
    // After it was handled, never before: what dies between the two is handled again, not lost.
    const kept = await redis.eval(KEEP, 3, leaseOf(partition), position, seen, NAME, reached, REMEMBER_SECONDS)
    if (kept !== 1) return 0
  }
  const last = entries.at(-1)
  if (last !== undefined) await redis.eval(KEEP, 2, leaseOf(partition), position, NAME, last.position)
  return entries.length
}

function leaseOf(partition: number): string {
  return `${GROUP}:lease:${partition}`
}

/** The end of an id is random, its beginning is the time. */
function partitionOf({ id }: MediaEvent): number {
  return Number.parseInt(id.slice(-8), 16) % PARTITIONS
}

function toEntry([position, [, channel = '', , payload = '']]: [id: string, fields: string[]]): Entry {
  return { position, channel, event: JSON.parse(payload) }
}

function report(what: string, error: unknown): void {
  console.error(`${what}: ${error instanceof Error ? error.message : error}`)
}
