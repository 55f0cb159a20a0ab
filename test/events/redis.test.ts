import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import type { EventBus } from '../../src/events/events.ts'
import { createRedisEventBus, EVENT_STREAM } from '../../src/events/redis.ts'
import { until } from '../support/clock/until.ts'
import { newEvent, openRedis } from '../support/events.ts'
import { startProxy } from '../support/process/proxy.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { ownRedis } from '../support/services/own-redis.ts'
import { haveServices } from '../support/services/shared.ts'

const have = await haveServices()
// Not the shared one, whose stream has one name for all.
const own = ownRedis(have)

describe.skipIf(!have)('the redis event bus beside Pub/Sub', () => {
  test('writes the same to the stream, in the same order, for consumers that were offline', async () => {
    const { bus, received, close } = await openRedis(own.redis.url)
    const reader = new Redis(own.redis.url)
    await reader.del(EVENT_STREAM)
    const events = Array.from({ length: 20 }, (_, i) => newEvent(i))
    await bus.publish(events.slice(0, 5))
    await bus.publish(events.slice(5))
    const entries = await reader.xrange(EVENT_STREAM, '-', '+')
    expect(entries.map(([, fields]) => fields)).toEqual(
      events.map(({ channel, payload }) => ['channel', channel, 'payload', JSON.stringify(payload)]),
    )
    await until(() => received.length === 20)
    expect(received).toEqual(events)
    reader.disconnect()
    await close()
  })

  test.each(['cut', 'moveAway'] as const)(
    'is followed on when the connection breaks (%s)',
    async (how) => {
      const proxy = await startProxy(own.redis.url)
      const bus = await createRedisEventBus({ url: proxy.url, log: createRecordingLog().log })
      const { bus: other, close } = await openRedis(own.redis.url)
      const user = crypto.randomUUID()
      const ending = new AbortController()
      const followed = await bus.follow(user, { after: undefined, ending, silenceMs: 60_000 })
      const seqs: number[] = []
      const following = (async () => {
        for await (const one of followed) if (one.kind === 'event') seqs.push(one.event.payload.seq)
      })()
      await other.publish([newEvent(1, user)])
      await until(() => seqs.length === 1)
      // What happens before the next connection is there would be missed by who listens from then on.
      await proxy[how]()
      await other.publish([newEvent(2, user), newEvent(3, user)])
      await Bun.sleep(100)
      await proxy.pass()
      await until(() => seqs.length >= 3)
      await other.publish([newEvent(4, user)])
      await until(() => seqs.length >= 4)
      expect(seqs).toEqual([1, 2, 3, 4])
      ending.abort()
      await following
      await bus.close()
      await close()
      await proxy.close()
    },
    20_000,
  )

  test('is followed over what is no event, and not from before where it was cut off', async () => {
    const { bus, close } = await openRedis(own.redis.url)
    const writer = new Redis(own.redis.url)
    const user = crypto.randomUUID()
    const follow = async (after?: string) => {
      const ending = new AbortController()
      const followed = await bus.follow(user, { after, ending, silenceMs: 5000 })
      const kinds: string[] = []
      for await (const one of followed) {
        if (one.kind === 'event') kinds.push(String(one.event.payload.seq))
        else if (one.kind === 'reset') kinds.push(one.kind)
        if (kinds.at(-1) === '9') ending.abort()
      }
      return kinds.join(' ')
    }
    const heard = follow()
    await until(async () => String(await writer.client('LIST')).includes('cmd=xread'))
    for (let seq = 1; seq < 10; seq += 1) {
      await bus.publish([newEvent(seq, user)])
      for (const payload of ['null', '{', '{"userId":1}', '"x"'])
        await writer.xadd(EVENT_STREAM, '*', 'channel', 'photo:updated', 'payload', payload)
      const json = JSON.stringify(newEvent(seq, user).payload)
      await writer.xadd(EVENT_STREAM, '*', 'channel', 'photo:updated\nid: 1', 'payload', json)
      await writer.xadd(EVENT_STREAM, '*', 'something', 'else')
    }
    expect(await heard).toBe('1 2 3 4 5 6 7 8 9')
    const kept = await writer.xrange(EVENT_STREAM, '-', '+')
    const ids = kept.filter(([, [, , , payload]]) => payload?.includes('"eventId"')).map(([id]) => id)
    const own9 = ids.filter((_, i) => i % 2 === 0).slice(-9)
    expect(await follow(own9[1])).toBe('3 4 5 6 7 8 9')
    await writer.xtrim(EVENT_STREAM, 'MINID', own9[3] ?? '')
    expect(await follow(own9[3])).toBe('5 6 7 8 9')
    const late = follow(own9[1])
    await until(async () => String(await writer.client('LIST')).includes('cmd=xread'))
    await bus.publish([newEvent(9, user)])
    expect(await late).toBe('reset 9')
    writer.disconnect()
    await close()
  }, 20_000)

  test('tells subscribers that the stream was trimmed behind the shared reader', async () => {
    const { bus, close } = await openRedis(own.redis.url)
    const writer = new Redis(own.redis.url)
    const user = crypto.randomUUID()
    const ending = new AbortController()
    const followed = await bus.follow(user, { after: undefined, ending, silenceMs: 60_000 })
    const heard: string[] = []
    const following = (async () => {
      for await (const one of followed) heard.push(one.kind === 'event' ? String(one.event.payload.seq) : one.kind)
    })()
    await until(async () => String(await writer.client('LIST')).includes('cmd=xread'))
    // More than the reader takes at once, and the first of them gone before it takes any: as when it stood still for long.
    const transaction = writer.multi()
    for (let seq = 1; seq <= 1000; seq += 1) {
      const json = JSON.stringify(newEvent(seq, user).payload)
      transaction.xadd(EVENT_STREAM, '*', 'channel', 'photo:updated', 'payload', json)
    }
    await transaction.xtrim(EVENT_STREAM, 'MAXLEN', 600).exec()
    await until(() => heard.length > 1)
    expect(heard).toEqual(['position', 'reset'])
    await bus.publish([newEvent(1001, user)])
    await until(() => heard.length > 2)
    expect(heard).toEqual(['position', 'reset', '1001'])
    ending.abort()
    await following
    writer.disconnect()
    await close()
  }, 20_000)

  test('sends any number of events as one command', async () => {
    const { bus, close } = await openRedis(own.redis.url)
    const reader = new Redis(own.redis.url)
    await bus.publish([newEvent(0)])
    const calls = async () => {
      const stats = await reader.info('commandstats')
      return (
        Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1]) +
        Number(/cmdstat_multi:calls=(\d+)/.exec(stats)?.[1] ?? 0)
      )
    }
    const before = await calls()
    await bus.publish(Array.from({ length: 100 }, (_, i) => newEvent(i)))
    expect((await calls()) - before).toBe(1)
    reader.disconnect()
    await close()
  })

  test('publishes by a transaction where scripts are not allowed, and says so once', async () => {
    const admin = new Redis(own.redis.url)
    await admin.acl('SETUSER', 'without-scripts', 'on', '>secret', '~*', '&*', '+@all', '-@scripting')
    const url = Object.assign(new URL(own.redis.url), { username: 'without-scripts', password: 'secret' })
    const { log, lines } = createRecordingLog()
    const bus = await createRedisEventBus({ url: url.href, log })
    await admin.del(EVENT_STREAM)
    const events = Array.from({ length: 6 }, (_, i) => newEvent(i))
    for (const start of [0, 2, 4]) await bus.publish(events.slice(start, start + 2))
    const entries = await admin.xrange(EVENT_STREAM, '-', '+')
    expect(entries.map(([, fields]) => JSON.parse(fields[3] ?? ''))).toEqual(events.map(({ payload }) => payload))
    expect(lines.map(({ level }) => level)).toEqual([40])
    await bus.close()
    await admin.acl('DELUSER', 'without-scripts')
    admin.disconnect()
  })

  test('rejects when Redis refuses one of the writes', async () => {
    const { bus, close } = await openRedis(own.redis.url)
    const writer = new Redis(own.redis.url)
    await writer.set(EVENT_STREAM, 'not a stream')
    await expect(bus.publish([newEvent(1)])).rejects.toThrow('WRONGTYPE')
    await writer.del(EVENT_STREAM)
    await bus.publish([newEvent(1)])
    writer.disconnect()
    await close()
  })
})

describe.skipIf(!have)('the redis event bus without Redis', () => {
  const { log, lines } = createRecordingLog()
  let bus: EventBus
  beforeAll(async () => {
    bus = await createRedisEventBus({ url: own.redis.url, log })
  })
  afterAll(() => bus.close())

  test('rejects within 1.2 seconds while Redis hangs, and recovers by itself', async () => {
    const { redis } = own
    await bus.publish([newEvent(1)])
    await redis.pause()
    expect(await refusedAfter(() => bus.publish([newEvent(2)]))).toBeLessThan(1200)
    expect(await refusedAfter(() => bus.check())).toBeLessThan(1200)
    await redis.resume()
    await until(() => resolves(bus.publish([newEvent(3)])))
    await bus.check()
  }, 20_000)

  test('rejects at once after Redis has died, says so once, and recovers by itself', async () => {
    const { redis } = own
    lines.length = 0
    await redis.kill()
    for (let i = 0; i < 3; i++) expect(await refusedAfter(() => bus.publish([newEvent(i)]))).toBeLessThan(1200)
    await Bun.sleep(500)
    expect(lines.filter(({ level }) => level >= 40).length).toBeLessThanOrEqual(1)
    await redis.start()
    await until(() => resolves(bus.publish([newEvent(3)])))
    await bus.check()
  }, 20_000)

  test.each(['kill', 'pause'] as const)(
    'starts while Redis is down (%s), and is there when Redis is',
    async (how) => {
      const { redis } = own
      await redis[how]()
      const { log: quiet, lines: said } = createRecordingLog()
      const start = performance.now()
      const late = await createRedisEventBus({ url: own.redis.url, log: quiet })
      expect(performance.now() - start).toBeLessThan(4000)
      expect(said.map(({ level }) => level)).toContain(40)
      expect(await refusedAfter(() => late.publish([newEvent(1)]))).toBeLessThan(1200)
      await redis.resume()
      await redis.start()
      await until(() => resolves(late.publish([newEvent(2)])))
      await late.close()
    },
    20_000,
  )
})

/** Milliseconds until the call rejects; fails when it does not. */
async function refusedAfter(call: () => Promise<void>): Promise<number> {
  const start = performance.now()
  if (await resolves(call())) expect.unreachable('resolved')
  return performance.now() - start
}

function resolves(call: Promise<void>): Promise<boolean> {
  return call.then(
    () => true,
    () => false,
  )
}
