/** What stops being public leaves the bucket behind the CDN at once, or with the next pass of upkeep, through any fault. */

import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Caller } from '../../src/auth/caller.ts'
import { audit } from './audit.ts'
import { faults } from './circuit.ts'
import { picture } from './pictures.ts'
import { attempt, passOver, type Replica, soundly, startReplica } from './replica.ts'
import { shareOf } from './shares.ts'
import { PENDING_SECONDS, type World, worlds } from './world.ts'

const gif = picture('image/gif', 300)
// More than the calls of any of these operations.
const MOST_CALLS = 8
// As long as what a process had claimed when it died.
const CLAIM_SECONDS = 61

setDefaultTimeout(120_000)

for (const { name, present, open } of worlds) {
  describe.skipIf(!present)(`an object that is not public any more, ${name}`, () => {
    let world: World
    const person: Caller = { userId: crypto.randomUUID(), role: 'user' }
    beforeAll(async () => {
      world = await open()
    }, 60_000)
    afterEach(() => world.clear())
    afterAll(() => world.close(), 60_000)

    const upload = async () => {
      const file = { name: 'a.gif', bytes: gif, visibility: 'public', idempotencyKey: undefined } as const
      return soundly(world, ({ media }) => media.uploads.direct(person, file))
    }
    const publicKeys = async () => (await world.storage.list({ prefix: 'public/', limit: 100 })).map(({ key }) => key)
    const makeCopies = ({ upkeep }: Replica) => upkeep.run()
    const ends: Record<'made private' | 'deleted' | 'erased', (id: string) => (replica: Replica) => Promise<unknown>> =
      {
        'made private': (id: string) => (replica: Replica) =>
          replica.media.objects.update(id, person, { visibility: 'private' }),
        deleted: (id: string) => (replica: Replica) => replica.media.objects.remove(id, person),
        erased: () => (replica: Replica) => replica.media.owners.erase(person.userId),
      }

    for (const [end, work] of Object.entries(ends)) {
      test(`its copy is gone with the next pass when the process fails or dies anywhere while it is ${end}`, async () => {
        for (const [row, fault] of faults.entries()) {
          const { first, step } = shareOf(name, row)
          for (let at = first; at <= MOST_CALLS; at += step) {
            const { id } = await upload()
            await soundly(world, makeCopies)
            expect(await publicKeys()).toHaveLength(1)
            const replica = startReplica(world, { plan: { at, fault } })
            await attempt(replica, work(id))
            const [row] = await world.sql`
              SELECT 1 FROM media_objects WHERE id = ${id} AND status = 'active' AND visibility = 'public'`
            await world.clock.advance(CLAIM_SECONDS)
            await passOver(world)
            expect({ fault, at, left: row === undefined ? await publicKeys() : [] }).toEqual({ fault, at, left: [] })
            await world.clear()
            if (!replica.circuit.struck()) break
          }
        }
      })

      test(`its copy is gone with the next pass when the process that made it died anywhere before it was ${end}`, async () => {
        for (const [row, fault] of (['dies before', 'dies after', 'fails with all after it'] as const).entries()) {
          const { first, step } = shareOf(name, row)
          for (let at = first; ; at += step) {
            const { id } = await upload()
            const replica = startReplica(world, { plan: { at, fault } })
            await attempt(replica, makeCopies)
            await attempt(startReplica(world), work(id))
            await world.clock.advance(CLAIM_SECONDS)
            await passOver(world)
            expect({ fault, at, left: await publicKeys() }).toEqual({ fault, at, left: [] })
            await world.clear()
            if (!replica.circuit.struck()) break
          }
        }
      })
    }

    test('a removal that keeps failing is tried with every pass, and keeps no other copy from being removed', async () => {
      const stuck = await upload()
      const other = await upload()
      await soundly(world, makeCopies)
      const [first = ''] = await publicKeys()
      expect(first).toContain(stuck.id)
      let tries = 0
      const remove: World['storage']['remove'] = async (keys, options) => {
        if (keys.includes(first)) {
          tries += 1
          throw new Error('a legal hold')
        }
        return world.storage.remove(keys, options)
      }
      const holdingOn = { ...world, storage: { ...world.storage, remove } }
      for (const { id } of [stuck, other]) await soundly(holdingOn, ends['made private'](id))
      expect(await publicKeys()).toEqual([first])
      for (let pass = 2; pass < 5; pass += 1) {
        await world.clock.advance(CLAIM_SECONDS)
        await passOver(holdingOn)
        expect(tries).toBe(pass)
      }
      await world.clock.advance(CLAIM_SECONDS)
      await passOver(world)
      expect(await publicKeys()).toEqual([])
      await world.clock.advance(PENDING_SECONDS)
      expect([...(await passOver(world)), ...(await audit(world))]).toEqual([])
    })
  })
}
