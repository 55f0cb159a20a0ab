import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import {
  type Channel,
  channels,
  compareIds,
  type EventBus,
  FOLLOWER_EVENTS,
  type Followed,
  type MediaEvent,
} from '../../src/events/events.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import { createRedisEventBus, EVENT_STREAM } from '../../src/events/redis.ts'
import { until } from '../support/clock/until.ts'
import { startProxy } from '../support/process/proxy.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { type Services, startServices } from '../support/services/services.ts'
import { haveServices } from '../support/services/shared.ts'

type OpenBus = {
  bus: EventBus
  /** What has arrived so far at someone who listens to every channel. */
  received: MediaEvent[]
  /** Publishes these, and has the log forget all that was before the last of them. */
  publishAndCutOff(events: MediaEvent[]): Promise<void>
  close(): Promise<void>
}

const have = await haveServices()
// Not the shared ones: Redis is stopped here, and its stream has one name for all.
let own: Services
beforeAll(async () => {
  if (have) own = await startServices({})
}, 60_000)
afterAll(() => own?.stop(), 60_000)

for (const { name, present, open } of [
  { name: 'redis', present: have, open: openRedis },
  { name: 'memory', present: true, open: openMemory },
]) {
  describe.skipIf(!present)(`the ${name} event bus`, () => {
    let opened: OpenBus
    beforeAll(async () => {
      opened = await open()
    })
    afterAll(() => opened.close())
    beforeEach(() => void opened.received.splice(0))

    test('brings every channel and payload unchanged to live subscribers', async () => {
      const events = channels.map((channel, i) => ({ ...newEvent(i), channel }))
      await opened.bus.publish(events)
      await until(() => opened.received.length === events.length)
      expect(opened.received).toEqual(events)
    })

    test('keeps the order, within a call and from one call to the next', async () => {
      for (let i = 0; i < 300; i += 100)
        await opened.bus.publish(Array.from({ length: 100 }, (_, k) => newEvent(i + k)))
      await until(() => opened.received.length === 300)
      expect(opened.received.map(({ payload }) => payload.seq)).toEqual(Array.from({ length: 300 }, (_, i) => i))
    })

    test('sends nothing when there is nothing to send', async () => {
      await opened.bus.publish([])
      await opened.bus.publish([newEvent(1)])
      await until(() => opened.received.length > 0)
      expect(opened.received).toHaveLength(1)
    })

    describe('followed', () => {
      const follow = async (userId: string, after?: string, ending = new AbortController()) => {
        const followed = await opened.bus.follow(userId, { after, ending, silenceMs: 300 })
        return { iterator: followed[Symbol.asyncIterator](), ending }
      }
      /** As many as there are to be, positions left out. */
      const take = async ({ iterator }: Awaited<ReturnType<typeof follow>>, count: number) => {
        const taken: Exclude<Followed, { kind: 'position' }>[] = []
        while (taken.length < count) {
          const { value, done } = await iterator.next()
          if (done) throw new Error(`ended after ${taken.length} of ${count}`)
          if (value.kind !== 'position') taken.push(value)
        }
        return taken
      }
      const idsOf = (taken: Awaited<ReturnType<typeof take>>) =>
        taken.map((one) => (one.kind === 'event' ? one.event.payload.eventId : one.kind))
      const eventsFor = (userId: string, count: number) => Array.from({ length: count }, (_, i) => newEvent(i, userId))
      const eventIds = (events: MediaEvent[]) => events.map(({ payload }) => payload.eventId)

      test('brings one owner each event, in order and as it was given, and nothing of others', async () => {
        const [user, other] = [crypto.randomUUID(), crypto.randomUUID()]
        const follower = await follow(user)
        const events = eventsFor(user, 50)
        await opened.bus.publish(events.flatMap((event) => [event, newEvent(1, other)]))
        const taken = await take(follower, 50)
        expect(taken.map((one) => one.kind === 'event' && one.event)).toEqual(events)
        const ids = taken.map(({ id }) => id)
        expect(ids).toEqual(ids.toSorted(compareIds))
        follower.ending.abort()
      })

      test('goes on after any id that it gave, an event or a position, without a gap and with nothing twice', async () => {
        const user = crypto.randomUUID()
        const first = await follow(user)
        const start = (await first.iterator.next()).value
        expect(start.kind).toBe('position')
        const events = eventsFor(user, 500)
        for (let i = 0; i < 500; i += 100) {
          await opened.bus.publish(events.slice(i, i + 100))
          await opened.bus.publish(eventsFor(crypto.randomUUID(), 10))
        }
        const taken = await take(first, 500)
        const position = (await first.iterator.next()).value
        expect(position.kind).toBe('position')
        for (const [after, skipped] of [
          [start.id, 0],
          [taken[0]!.id, 1],
          [taken[350]!.id, 351],
          [taken[499]!.id, 500],
          [position.id, 500],
        ] as const) {
          const resumed = await follow(user, after)
          const more = eventsFor(user, 3)
          await opened.bus.publish(more)
          events.push(...more)
          const rest = await take(resumed, events.length - skipped)
          expect(idsOf(rest)).toEqual(eventIds(events.slice(skipped)))
          resumed.ending.abort()
        }
        first.ending.abort()
      })

      test('hands over from the past to the present while events keep coming', async () => {
        const user = crypto.randomUUID()
        const first = await follow(user)
        const { id } = (await first.iterator.next()).value
        first.ending.abort()
        const events = eventsFor(user, 600)
        const publishing = (async () => {
          for (let i = 0; i < 600; i += 5) await opened.bus.publish(events.slice(i, i + 5))
        })()
        for (let i = 0; i < 5; i += 1) {
          const follower = await follow(user, id)
          expect(idsOf(await take(follower, 100 + i * 100))).toEqual(eventIds(events.slice(0, 100 + i * 100)))
          follower.ending.abort()
        }
        await publishing
      })

      test('says how far it is while nothing comes, and that the log does not go back to an id', async () => {
        const user = crypto.randomUUID()
        for (const after of ['1-1', '999999999999999-1']) {
          const follower = await follow(user, after)
          expect((await follower.iterator.next()).value.kind).toBe('reset')
          const started = performance.now()
          expect((await follower.iterator.next()).value.kind).toBe('position')
          expect(performance.now() - started).toBeWithin(200, 2000)
          await opened.bus.publish([newEvent(1, user)])
          expect((await take(follower, 1))[0]?.kind).toBe('event')
          follower.ending.abort()
        }
      })

      test('tells a subscriber that reads the past too slowly that the log was trimmed', async () => {
        const user = crypto.randomUUID()
        const first = await follow(user)
        const { id } = (await first.iterator.next()).value
        first.ending.abort()
        // More than a page, and as much as the log in memory keeps.
        for (let i = 0; i < 10; i += 1) await opened.bus.publish(eventsFor(user, 100))
        const slow = await follow(user, id)
        await take(slow, 1)
        await opened.publishAndCutOff(eventsFor(user, 2500))
        // What it was being given, then that there is a gap: never what comes behind the gap without a word of it.
        const kinds: string[] = []
        while (!kinds.includes('reset') && kinds.length < 2500) {
          const [one] = await take(slow, 1)
          kinds.push(one?.kind ?? '')
        }
        expect(kinds).toContain('reset')
        await opened.bus.publish([newEvent(7, user)])
        // The reader that serves all of them may have been cut off, too, and says so on its own.
        let next: Followed | undefined
        do [next] = await take(slow, 1)
        while (next?.kind === 'reset')
        expect(next).toMatchObject({ kind: 'event', event: { payload: { seq: 7 } } })
        slow.ending.abort()
      })

      test('ends for a subscriber that does not read, and for one that unsubscribes', async () => {
        const user = crypto.randomUUID()
        const [slow, quick] = [await follow(user), await follow(user)]
        for (const { iterator } of [slow, quick]) await iterator.next()
        // Both have come to the present.
        const [pending, other] = [slow.iterator.next(), quick.iterator.next()]
        await opened.bus.publish([newEvent(1, user)])
        await Promise.all([pending, other])
        for (let i = 0; i < FOLLOWER_EVENTS + 100; i += 100) {
          await opened.bus.publish(eventsFor(user, 100))
          await take(quick, 100)
        }
        await until(() => slow.ending.signal.aborted)
        expect((await slow.iterator.next()).done).toBe(true)
        const waiting = quick.iterator.next()
        quick.ending.abort()
        expect((await waiting).done).toBe(true)
      })
    })

    test('says that it can be used', async () => {
      await opened.bus.check()
    })
  })
}

test('the memory event bus keeps the last 1000 events for reconnecting subscribers', async () => {
  const bus = createMemoryEventBus()
  const user = crypto.randomUUID()
  const ids: string[] = []
  const ending = new AbortController()
  const followed = await bus.follow(user, { after: undefined, ending, silenceMs: 5000 })
  for await (const { id, kind } of followed) {
    if (kind === 'event') ids.push(id)
    if (ids.length === 1100) break
    if (kind === 'event' || ids.length === 0) await bus.publish([newEvent(ids.length, user)])
  }
  for (const [after, kind] of [
    [ids[98], 'reset'],
    [ids[99], 'position'],
  ] as const) {
    const resumed = await bus.follow(user, { after, ending: new AbortController(), silenceMs: 5000 })
    const taken = resumed[Symbol.asyncIterator]()
    expect((await taken.next()).value.kind).toBe(kind)
    if (kind === 'position') expect((await taken.next()).value.id).toBe(ids[100])
    await taken.return?.()
  }
})

describe.skipIf(!have)('the redis event bus beside Pub/Sub', () => {
  test('writes the same to the stream, in the same order, for consumers that were offline', async () => {
    const { bus, received, close } = await openRedis()
    const reader = new Redis(own.redisUrl)
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
      const proxy = await startProxy(own.redisUrl)
      const bus = await createRedisEventBus({ url: proxy.url, log: createRecordingLog().log })
      const { bus: other, close } = await openRedis()
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
    const { bus, close } = await openRedis()
    const writer = new Redis(own.redisUrl)
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
    const { bus, close } = await openRedis()
    const writer = new Redis(own.redisUrl)
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
    const { bus, close } = await openRedis()
    const reader = new Redis(own.redisUrl)
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
    const admin = new Redis(own.redisUrl)
    await admin.acl('SETUSER', 'without-scripts', 'on', '>secret', '~*', '&*', '+@all', '-@scripting')
    const url = Object.assign(new URL(own.redisUrl), { username: 'without-scripts', password: 'secret' })
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
    const { bus, close } = await openRedis()
    const writer = new Redis(own.redisUrl)
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
    bus = await createRedisEventBus({ url: own.redisUrl, log })
  })
  afterAll(() => bus.close())

  test('rejects within 1.2 seconds while Redis hangs, and recovers by itself', async () => {
    const { redis } = own.control!
    await bus.publish([newEvent(1)])
    await redis.pause()
    expect(await refusedAfter(() => bus.publish([newEvent(2)]))).toBeLessThan(1200)
    expect(await refusedAfter(() => bus.check())).toBeLessThan(1200)
    await redis.resume()
    await until(() => resolves(bus.publish([newEvent(3)])))
    await bus.check()
  }, 20_000)

  test('rejects at once after Redis has died, says so once, and recovers by itself', async () => {
    const { redis } = own.control!
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
      const { redis } = own.control!
      await redis[how]()
      const { log: quiet, lines: said } = createRecordingLog()
      const start = performance.now()
      const late = await createRedisEventBus({ url: own.redisUrl, log: quiet })
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

async function openMemory(): Promise<OpenBus> {
  const bus = createMemoryEventBus()
  const received: MediaEvent[] = []
  bus.subscribe((event) => received.push(event))
  // It keeps the last thousand by itself.
  return { bus, received, publishAndCutOff: bus.publish, close: bus.close }
}

async function openRedis(): Promise<OpenBus> {
  const { log } = createRecordingLog()
  const bus = await createRedisEventBus({ url: own.redisUrl, log })
  const received: MediaEvent[] = []
  const subscriber = new Redis(own.redisUrl)
  subscriber.on('message', (channel: Channel, payload) => received.push({ channel, payload: JSON.parse(payload) }))
  await subscriber.subscribe(...channels)
  return {
    bus,
    received,
    async publishAndCutOff(events) {
      await bus.publish(events)
      const writer = new Redis(own.redisUrl)
      const [last] = await writer.xrevrange(EVENT_STREAM, '+', '-', 'COUNT', 1)
      await writer.xtrim(EVENT_STREAM, 'MINID', last?.[0] ?? '')
      writer.disconnect()
    },
    async close() {
      subscriber.disconnect()
      await bus.close()
    },
  }
}

function newEvent(seq: number, userId: string = crypto.randomUUID()): MediaEvent {
  const ids = { id: crypto.randomUUID(), userId, eventId: crypto.randomUUID() }
  const occurredAt = '2026-11-22T12:00:00.000Z'
  return {
    channel: 'photo:uploaded',
    payload: { ...ids, seq, occurredAt, originalName: '日本語 "🚀".jpg', width: null },
  }
}

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
