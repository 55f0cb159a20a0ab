import { afterAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { v7 as uuidv7 } from 'uuid'
import type { MediaEvent } from '../../src/events/events.ts'
import { createRedisEventBus } from '../../src/events/redis.ts'
import { tied } from '../support/process/process.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { repository } from '../support/repository.ts'
import { haveServices, services } from '../support/services/shared.ts'

const have = await haveServices()
const LEASE_MS = 2000

describe.skipIf(!have)('the consumer of the examples', () => {
  // A keyspace of its own: other tests use the stream of the same name.
  const url = async () => `${(await services()).redisUrl}/7`
  afterAll(async () => {
    if (!have) return
    const redis = new Redis(await url())
    await redis.flushdb()
    redis.disconnect()
  })

  test('handles every event though it is killed in the middle, and drops what came twice', async () => {
    const bus = await createRedisEventBus({ url: await url(), log: createRecordingLog().log })
    const events = makeEvents(60, 5)
    for (const batch of inBatches(events, 30)) {
      await bus.publish(batch)
      // As after a time-out: sent, and sent again.
      await bus.publish(batch.slice(0, 10))
    }

    const first = startConsumer(await url())
    await first.until(80)
    await first.kill()
    expect(first.handled.length).toBeLessThan(events.length)
    const second = startConsumer(await url())
    const missing = () => {
      const handled = new Set([...first.handled, ...second.handled])
      return events.filter(({ payload }) => !handled.has(lineOf(payload)))
    }
    while (missing().length > 0) await Bun.sleep(20)
    expect(await second.stop()).toBe(0)

    const handled = [...first.handled, ...second.handled]
    // The one that was being handled when it was killed may be there again.
    expect(handled.length).toBeLessThanOrEqual(events.length + 1)
    expect(new Set(handled).size).toBe(events.length)
    await bus.close()
  }, 30_000)

  test('keeps the order of each object, with two that fail now and then and one that is killed', async () => {
    const redis = new Redis(await url())
    await redis.flushdb()
    const bus = await createRedisEventBus({ url: await url(), log: createRecordingLog().log })
    const events = makeEvents(40, 8)
    const env = { GROUP: 'ordered' }
    const consumers = Array.from({ length: 2 }, () => [env, failingScript] as const)
    const [killed, other] = await Promise.all(consumers.map(async (given) => startConsumer(await url(), ...given)))
    const waiting = async () => String(await redis.client('LIST')).match(/ db=7 .* cmd=xread /g)?.length ?? 0
    while ((await waiting()) < 2) await Bun.sleep(5)
    for (const batch of inBatches(events, 40)) await bus.publish(batch)
    const handled = () => redis.lrange('handled', 0, -1)
    while ((await handled()).length < 60) await Bun.sleep(5)
    await killed?.kill()
    const third = startConsumer(await url(), env, failingScript)
    while (new Set(await handled()).size < events.length) await Bun.sleep(20)
    expect(await other?.stop()).toBe(0)
    expect(await third.stop()).toBe(0)

    // The first time that each was handled; what comes again changes nothing.
    const first = [...new Set(await handled())].map((line) => line.split(' '))
    for (const id of new Set(events.map(({ payload }) => payload.id)))
      expect([id, first.filter(([, of]) => of === id).map(([, , seq]) => Number(seq))]).toEqual([
        id,
        [1, 2, 3, 4, 5, 6, 7, 8],
      ])
    // They have shared the work.
    expect(new Set(await redis.lrange('by', 0, -1)).size).toBeGreaterThanOrEqual(2)
    redis.disconnect()
    await bus.close()
  }, 60_000)

  test('gets what happens while it waits', async () => {
    const bus = await createRedisEventBus({ url: await url(), log: createRecordingLog().log })
    const consumer = startConsumer(await url(), { GROUP: 'waiting' })
    const before = await streamLength(await url())
    const [event] = makeEvents(1, 1)
    await Bun.sleep(200)
    await bus.publish([event!])
    while (!consumer.handled.includes(lineOf(event!.payload))) await Bun.sleep(20)
    expect(consumer.handled.length).toBeLessThanOrEqual(before + 1)
    expect(await consumer.stop()).toBe(0)
    await bus.close()
  }, 30_000)
})

function makeEvents(objects: number, each: number): MediaEvent[] {
  const ids = Array.from({ length: objects }, () => uuidv7())
  const userId = crypto.randomUUID()
  return Array.from({ length: each }, (_, at) => at + 1).flatMap((seq) =>
    ids.map((id) => ({
      channel: 'photo:updated' as const,
      payload: { id, userId, eventId: crypto.randomUUID(), seq, occurredAt: new Date().toISOString() },
    })),
  )
}

function inBatches<T>(items: T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size))
}

function lineOf({ id, seq, eventId }: MediaEvent['payload']): string {
  return `photo:updated ${id} ${seq} ${eventId}`
}

async function streamLength(url: string): Promise<number> {
  const redis = new Redis(url)
  const length = await redis.xlen('media:events')
  redis.disconnect()
  return length
}

const script = await Bun.file(join(repository, 'examples', 'consumer.ts')).text()
const HANDLED = '  console.log(channel, event.id, event.seq, event.eventId)\n'
/** With another handler, which writes to Redis: the output of two processes has no order. */
const failingScript = script.replace(
  HANDLED,
  `  await sleep(Math.random() * 10)
  if (Math.random() < 0.1) throw new Error('now and then')
  await redis.multi().rpush('handled', [channel, event.id, event.seq, event.eventId].join(' ')).rpush('by', NAME).exec()
`,
)
if (failingScript === script) throw new Error(`The example has not: ${HANDLED}`)

function startConsumer(url: string, env: Record<string, string> = {}, source = script) {
  const { PATH, HOME } = process.env
  const child = Bun.spawn(tied([process.execPath, '--no-env-file', '-']), {
    env: { PATH, HOME, REDIS_URL: url, LEASE_MS: String(LEASE_MS), ...env },
    cwd: repository,
    stdio: [new Blob([source]), 'pipe', source === script ? 'inherit' : 'ignore'],
  })
  const handled: string[] = []
  const reading = (async () => {
    let rest = ''
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      handled.push(...lines)
    }
  })()
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    const code = await child.exited
    await reading
    return code
  }
  return {
    handled,
    /** Resolves when it has handled so many. */
    async until(count: number) {
      while (handled.length < count) await Bun.sleep(1)
    },
    kill: () => end('SIGKILL'),
    /** In order; resolves with its exit code. */
    stop: () => end('SIGTERM'),
  }
}
