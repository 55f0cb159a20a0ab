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
    beforeAll(async () => {
      world = await open()
    }, 60_000)
    afterEach(() => world.clear())
    afterAll(() => world.close(), 60_000)

    const newPerson = (): Caller => ({ userId: crypto.randomUUID(), role: 'user' })
    const upload = async (person: Caller) => {
      const file = { name: 'a.gif', bytes: gif, visibility: 'public', idempotencyKey: undefined } as const
      return soundly(world, ({ media }) => media.uploads.direct(person, file))
    }
    const publicKeys = async () => (await world.storage.list({ prefix: 'public/', limit: 100 })).map(({ key }) => key)
    const makeCopies = ({ upkeep }: Replica) => upkeep.run()
    type Work = (id: string, person: Caller) => (replica: Replica) => Promise<unknown>
    const ends: Record<'made private' | 'deleted' | 'erased', Work> = {
      'made private': (id, person) => (replica) => replica.media.objects.update(id, person, { visibility: 'private' }),
      deleted: (id, person) => (replica) => replica.media.objects.remove(id, person),
      erased: (_id, person) => (replica) => replica.media.owners.erase(person.userId),
    }

    for (const [end, work] of Object.entries(ends)) {
      // Each point is another person's, so that one pass makes all their copies, and one removes them.
      test(`its copy is gone with the next pass when the process fails or dies anywhere while it is ${end}`, async () => {
        for (const [row, fault] of faults.entries()) {
          const { first, step } = shareOf(name, row)
          const points: { at: number; id: string; person: Caller }[] = []
          for (let at = first; at <= MOST_CALLS; at += step) {
            const person = newPerson()
            points.push({ at, id: (await upload(person)).id, person })
          }
          await soundly(world, makeCopies)
          expect(await publicKeys()).toHaveLength(points.length)
          for (const { at, id, person } of points)
            await attempt(startReplica(world, { plan: { at, fault } }), work(id, person))
          const active = await world.sql<{ id: string }[]>`
            SELECT id FROM media_objects WHERE status = 'active' AND visibility = 'public'`
          await world.clock.advance(CLAIM_SECONDS)
          await passOver(world)
          const kept = new Set(active.map(({ id }) => id))
          const left = (await publicKeys()).filter((key) => !kept.has(key.split('/')[1] ?? ''))
          const where = points.filter(({ id }) => left.some((key) => key.includes(id))).map(({ at }) => at)
          expect({ fault, where, left }).toEqual({ fault, where: [], left: [] })
          // A process that died before its first call has changed nothing; one past the last call met no fault.
          expect(kept.size).toBeLessThan(points.length)
          await world.clear()
        }
      })

      test(`its copy is gone with the next pass when the process that made it died anywhere before it was ${end}`, async () => {
        for (const [row, fault] of (['dies before', 'dies after', 'fails with all after it'] as const).entries()) {
          const { first, step } = shareOf(name, row)
          for (let at = first; ; at += step) {
            const person = newPerson()
            const { id } = await upload(person)
            const replica = startReplica(world, { plan: { at, fault } })
            await attempt(replica, makeCopies)
            await attempt(startReplica(world), work(id, person))
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
      const person = newPerson()
      const stuck = await upload(person)
      const other = await upload(person)
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
      for (const { id } of [stuck, other]) await soundly(holdingOn, ends['made private'](id, person))
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
