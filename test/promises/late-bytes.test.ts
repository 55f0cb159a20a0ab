/**
 * Bytes that arrive when nobody expects them any more, and clocks that are wrong: a PUT that took hours, a copy for
 * an object whose owner was erased meanwhile, a store or a process with another idea of the time.
 */

import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { v7 as uuidv7 } from 'uuid'
import type { Caller } from '../../src/auth/caller.ts'
import type { Visibility } from '../../src/media/object/object.ts'
import { audit } from './audit.ts'
import { picture } from './pictures.ts'
import { attempt, passOver, type Replica, soundly, startReplica } from './replica.ts'
import { PENDING_SECONDS, RETENTION_SECONDS, type World, worlds } from './world.ts'

const gif = picture('image/gif', 300)
const png = picture('image/png', 400)
const HOUR = 3600
const DAY = 24 * HOUR

setDefaultTimeout(30_000)

for (const { name, present, open } of worlds) {
  describe.skipIf(!present)(`bytes that come late, ${name}`, () => {
    let world: World
    const person: Caller = { userId: crypto.randomUUID(), role: 'user' }
    beforeAll(async () => {
      world = await open()
    }, 60_000)
    afterEach(() => world.clear())
    afterAll(() => world.close(), 60_000)

    const upload =
      (visibility: Visibility) =>
      ({ media }: Replica) =>
        media.uploads.direct(person, { name: 'a.gif', bytes: gif, visibility, idempotencyKey: undefined })
    const presign = ({ media }: Replica) => {
      const unbound = { size: undefined, sha256: undefined, idempotencyKey: undefined }
      return media.uploads.presign(person, {
        filename: 'a.png',
        fileType: 'image/png',
        visibility: 'private',
        ...unbound,
      })
    }
    /** Upkeep gets to it, and so do the public copies. */
    const makeCopies = ({ upkeep }: Replica) => upkeep.run()
    const healed = async () => [...(await passOver(world)), ...(await audit(world))]
    const keys = async (prefix = '') => (await world.storage.list({ prefix, limit: 100 })).map(({ key }) => key)
    const rows = async () => [
      ...(await world.sql<{ id: string; status: string }[]>`SELECT id, status FROM media_objects`),
    ]

    /** The same world for a process that dies over a put, whose bytes are stored however long after. */
    function dripping(): { world: World; began: Promise<string>; end: () => Promise<void> } {
      const began = Promise.withResolvers<string>()
      let store = async () => {}
      const put: World['storage']['put'] = async (key, ...rest) => {
        store = () => world.storage.put(key, ...rest)
        began.resolve(key)
        await new Promise<never>(() => {})
      }
      return { world: { ...world, storage: { ...world.storage, put } }, began: began.promise, end: () => store() }
    }

    /** Keeps back a call of a process by its name until it is let go. */
    function holding(called: string) {
      const reached = Promise.withResolvers<void>()
      const released = Promise.withResolvers<void>()
      async function turn<T>(call: () => Promise<T>, name?: string): Promise<T> {
        if (name === called) {
          reached.resolve()
          await released.promise
        }
        return call()
      }
      return { turn, reached: reached.promise, release: () => released.resolve() }
    }

    for (const hours of [2, 9, 40]) {
      test(`a PUT that began under a valid link and ended ${hours} hours later leaves nothing`, async () => {
        const link = await soundly(world, presign)
        await world.clock.advance(PENDING_SECONDS + 1)
        await passOver(world)
        await world.clock.advance(hours * HOUR)
        expect(await passOver(world)).toEqual([])
        expect(await rows()).toHaveLength(0)
        // The search for new bytes without a row has long passed it.
        await soundly(world, upload('private'))
        await world.clock.advance(PENDING_SECONDS + 1)
        await passOver(world)
        expect(await world.put(link, png)).toBe(true)
        await world.clock.advance(HOUR + 1)
        expect(await healed()).toEqual([])
      })
    }

    test('the PUT of a direct upload that drips for a day, and whose process is gone by then, leaves nothing', async () => {
      const drip = dripping()
      void upload('private')(startReplica(drip.world)).catch(() => {})
      await drip.began
      await world.clock.advance(PENDING_SECONDS + 1)
      await passOver(world)
      await world.clock.advance(DAY)
      await passOver(world)
      expect(await rows()).toHaveLength(0)
      await drip.end()
      await world.clock.advance(HOUR + 1)
      expect(await healed()).toEqual([])
    })

    test('late bytes beside a living object go, and its own stay', async () => {
      const { id, key } = await soundly(world, upload('private'))
      await world.clock.advance(PENDING_SECONDS + 1)
      await passOver(world)
      await world.storage.put(`media/${id}/0123456789ab/original.gif`, gif, { contentType: 'image/gif' })
      await world.clock.advance(HOUR + 1)
      expect(await healed()).toEqual([])
      expect(await keys()).toEqual([key])
    })

    for (const year of [1970, 2100]) {
      test(`a store that says everything is from ${year} loses nothing, and orphans go all the same`, async () => {
        const list: World['storage']['list'] = async (options) =>
          (await world.storage.list(options)).map((object) => ({ ...object, lastModified: new Date(`${year}-06-01`) }))
        const odd = { ...world, storage: { ...world.storage, list } }
        const held = holding('uploads.insert')
        const first = attempt(startReplica(odd, { turn: held.turn }), upload('private'))
        await held.reached
        const orphan = `media/${uuidv7({ msecs: world.clock.now() })}/original.gif`
        await world.storage.put(orphan, gif, { contentType: 'image/gif' })
        await world.clock.advance(PENDING_SECONDS / 3)
        expect(await passOver(odd)).toEqual([])
        held.release()
        expect((await first).kind).toBe('answered')
        await world.clock.advance(PENDING_SECONDS + 1)
        expect([...(await passOver(odd)), ...(await audit(world))]).toEqual([])
        expect(await keys()).toHaveLength(1)
      })
    }

    for (const days of [2, -2]) {
      test(`a replica whose clock is ${days} days off removes nothing between the halves of an upload`, async () => {
        const clock = { ...world.clock, now: () => world.clock.now() + days * DAY * 1000 }
        const held = holding('uploads.insert')
        const first = attempt(startReplica(world, { turn: held.turn }), upload('private'))
        await held.reached
        const orphan = `media/${uuidv7({ msecs: world.clock.now() - 2 * PENDING_SECONDS * 1000 })}/original.gif`
        await world.storage.put(orphan, gif, { contentType: 'image/gif' })
        await world.clock.advance(HOUR + 1)
        expect(await passOver({ ...world, clock })).toEqual([])
        held.release()
        expect((await first).kind).toBe('answered')
        expect(await healed()).toEqual([])
      })
    }

    test('the copy of an old object is not taken for an orphan between its bytes and its row', async () => {
      const { id } = await soundly(world, upload('public'))
      await world.clock.advance(2 * PENDING_SECONDS)
      const held = holding('publicCopies.keep')
      const making = attempt(startReplica(world, { turn: held.turn }), makeCopies)
      await held.reached
      expect(await keys(`public/${id}/`)).toHaveLength(1)
      expect((await soundly(world, ({ upkeep }) => upkeep.run())).orphans).toBe(0)
      held.release()
      await making
      expect(await keys(`public/${id}/`)).toHaveLength(1)
      await world.clock.advance(2 * HOUR)
      expect(await healed()).toEqual([])
      expect(await keys(`public/${id}/`)).toHaveLength(1)
    })

    test('claim, list, announce, end, PUT, death: what came after a sweep had looked is swept by the next one', async () => {
      const { id } = await soundly(world, upload('public'))
      await world.sql`UPDATE media_objects SET links_until = now() - interval '1 second', sweep_due_at = now()`
      const held = holding('sweeps.end')
      const sweeping = attempt(startReplica(world, { turn: held.turn }), ({ upkeep }) => upkeep.run())
      await held.reached
      const drip = dripping()
      void makeCopies(startReplica(drip.world))
      const key = await drip.began
      held.release()
      await sweeping
      await drip.end()
      // Somewhere else below the prefix, which only a sweep finds.
      await world.storage.put(`${key}.late`, gif, { contentType: 'image/gif' })
      await world.clock.advance(3 * HOUR)
      expect(await healed()).toEqual([])
      const [row] = await world.sql<{ key: string | null }[]>`SELECT public_key AS key FROM media_objects`
      expect(await keys(`public/${id}/`)).toEqual(row?.key ? [row.key] : [])
    })

    test('a copy on its way while its owner is erased is removed when it arrives, and its row waits for it', async () => {
      const { id } = await soundly(world, upload('public'))
      await world.clock.advance(DAY)
      const drip = dripping()
      void makeCopies(startReplica(drip.world))
      await drip.began
      await soundly(world, ({ media }) => media.owners.erase(person.userId))
      await passOver(world)
      await world.clock.advance(600)
      await passOver(world)
      expect(await rows()).toMatchObject([{ id, status: 'purging' }])
      await drip.end()
      expect(await keys()).toHaveLength(1)
      await world.clock.advance(2 * HOUR)
      expect(await healed()).toEqual([])
      expect(await keys()).toEqual([])
      expect(await rows()).toHaveLength(0)
    })

    test('a maker that slept longer than its claim does not give an object a copy that is gone', async () => {
      const { id } = await soundly(world, upload('public'))
      const held = holding('publicCopies.keep')
      const making = attempt(startReplica(world, { turn: held.turn }), makeCopies)
      await held.reached
      await world.clock.advance(2 * HOUR)
      await world.sql`UPDATE media_objects SET publish_due_at = 'infinity'`
      await passOver(world)
      expect(await keys(`public/${id}/`)).toEqual([])
      held.release()
      await making
      expect(await healed()).toEqual([])
      expect(await keys(`public/${id}/`)).toEqual([])
    })

    test('a copy that was withdrawn while it was made is not given to the object that is public again', async () => {
      const { id } = await soundly(world, upload('public'))
      const held = holding('publicCopies.keep')
      const making = attempt(startReplica(world, { turn: held.turn }), makeCopies)
      await held.reached
      const show = (visibility: Visibility) =>
        soundly(world, ({ media }) => media.objects.update(id, person, { visibility }))
      await show('private')
      expect(await keys('public/')).toEqual([])
      await show('public')
      held.release()
      await making
      await world.clock.advance(RETENTION_SECONDS)
      expect(await healed()).toEqual([])
    })
  })
}
