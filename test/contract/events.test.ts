import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { channels, compareIds, FOLLOWER_EVENTS, type Followed, type MediaEvent } from '../../src/events/events.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import { until } from '../support/clock/until.ts'
import { newEvent, type OpenBus, openMemory, openRedis } from '../support/events.ts'
import { ownRedis } from '../support/services/own-redis.ts'
import { haveServices } from '../support/services/shared.ts'

const have = await haveServices()
// Not the shared one, whose stream has one name for all.
const own = ownRedis(have)

for (const { name, present, open } of [
  { name: 'redis', present: have, open: () => openRedis(own.redis.url) },
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
