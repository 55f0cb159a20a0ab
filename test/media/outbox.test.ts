import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { MediaEvent } from '../../src/events/events.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { arrived, callerOf, changed, newObject, restored } from '../support/media/objects.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'

const settings = { pendingSeconds: 100, retentionSeconds: 1000 }

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`the outbox of a row on ${name}`, () => {
    let database: OpenDatabase
    let repository: Repository
    beforeAll(async () => {
      database = await open({ migrated: true })
      repository = createRepository({ sql: database.sql, ...settings })
    }, 60_000)
    beforeEach(async () => {
      await database.sql`DELETE FROM media_objects`
    })
    afterAll(() => database.close(), 30_000)

    const owed = async ({ id }: { id: string }) => {
      const [row] = await database.sql<{ outbox: MediaEvent[]; event_seq: number; due: number | null }[]>`
        SELECT outbox, event_seq, extract(epoch FROM outbox_due_at - now())::float AS due
        FROM media_objects WHERE id = ${id}`
      return row ?? expect.unreachable()
    }
    const channelsOf = (events: MediaEvent[]) => events.map(({ channel }) => channel)
    const makeDue = () => database.sql`
      UPDATE media_objects SET outbox_due_at = now() - interval '1 second' WHERE outbox_due_at IS NOT NULL`
    /** An active object that owes its first event. */
    const newActive = async () => {
      const object = newObject()
      await repository.uploads.insert(object)
      await repository.uploads.activate(object.id, arrived)
      return object
    }

    test('holds what the statement of each change owes, in order and counted', async () => {
      const object = await newActive()
      const caller = callerOf(object)
      await repository.objects.update(object.id, caller, { visibility: 'public', publicKey: null }, changed)
      await repository.objects.remove(object.id, caller)
      const row = await repository.objects.restore(object.id, caller, restored)
      const { outbox, event_seq } = await owed(object)
      expect(row?.outbox).toEqual(outbox)
      expect(event_seq).toBe(4)
      expect(channelsOf(outbox)).toEqual(['photo:uploaded', 'photo:updated', 'photo:deleted', 'photo:restored'])
      expect(outbox.map(({ payload }) => payload.seq)).toEqual([1, 2, 3, 4])
      expect(new Set(outbox.map(({ payload }) => payload.eventId)).size).toBe(4)
    })

    test('says of each event whose it is, when it was, and the facts of the change', async () => {
      const object = await newActive()
      const [event] = (await owed(object)).outbox
      const { eventId, occurredAt, ...rest } = event?.payload ?? expect.unreachable()
      expect(rest as object).toEqual({
        id: object.id,
        userId: object.userId,
        seq: 1,
        mimeType: 'image/jpeg',
        width: 640,
      })
      expect(eventId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
      expect(occurredAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      expect(Math.abs(Date.parse(occurredAt) - Date.now())).toBeLessThan(5000)
    })

    test('is left for a moment to the replica that made the change, then due for the relay', async () => {
      const object = await newActive()
      expect((await owed(object)).due).toBeWithin(3, 5.1)
      expect(await repository.outbox.claim(10)).toEqual([])
      await makeDue()
      const { outbox } = await owed(object)
      expect(await repository.outbox.claim(10)).toEqual([{ id: object.id, outbox }])
    })

    describe('settle', () => {
      test('removes exactly the events that were sent and keeps later ones, due at once', async () => {
        const object = await newActive()
        const { outbox: sent } = await owed(object)
        await repository.objects.remove(object.id, callerOf(object))
        await repository.outbox.settle(sent)
        const left = await owed(object)
        expect(channelsOf(left.outbox)).toEqual(['photo:deleted'])
        expect(left.due).toBeLessThanOrEqual(0)
        expect(left.event_seq).toBe(2)
        await repository.outbox.settle(left.outbox)
        expect(await owed(object)).toEqual({ outbox: [], event_seq: 2, due: null })
      })

      test('leaves each of many rows with its unsent events, and other rows alone', async () => {
        const [one, two, bystander] = [await newActive(), await newActive(), await newActive()]
        const sent = [...(await owed(one)).outbox, ...(await owed(two)).outbox]
        await repository.objects.remove(two.id, callerOf(two))
        const before = (await owed(bystander)).outbox
        await repository.outbox.settle(sent)
        expect((await owed(one)).outbox).toEqual([])
        expect(channelsOf((await owed(two)).outbox)).toEqual(['photo:deleted'])
        expect((await owed(bystander)).outbox).toEqual(before)
      })

      test('a second time, as a second sender does, changes nothing', async () => {
        const object = await newActive()
        const { outbox: sent } = await owed(object)
        await repository.outbox.settle(sent)
        await repository.outbox.settle(sent)
        expect((await owed(object)).outbox).toEqual([])
      })

      test('loses no event of a change at the same time', async () => {
        for (let i = 0; i < 10; i++) {
          const object = await newActive()
          const { outbox: sent } = await owed(object)
          await Promise.all([repository.outbox.settle(sent), repository.objects.remove(object.id, callerOf(object))])
          expect(channelsOf((await owed(object)).outbox)).toEqual(['photo:deleted'])
        }
      })
    })

    describe('claim', () => {
      test('gives a row to one sender for a while', async () => {
        const object = await newActive()
        await makeDue()
        expect(await repository.outbox.claim(10)).toHaveLength(1)
        expect(await repository.outbox.claim(10)).toEqual([])
        expect((await owed(object)).due).toBeWithin(8, 10.1)
      })

      test('gives what is longest due first, up to the limit', async () => {
        const objects = [await newActive(), await newActive(), await newActive()]
        for (const [i, { id }] of objects.entries())
          await database.sql`
            UPDATE media_objects SET outbox_due_at = now() - ${10 - i} * interval '1 second' WHERE id = ${id}`
        const claimed = (await repository.outbox.claim(2)).flatMap(({ outbox }) =>
          outbox.map(({ payload }) => payload.id),
        )
        expect(claimed.sort()).toEqual(
          objects
            .slice(0, 2)
            .map(({ id }) => id)
            .sort(),
        )
      })

      test('gives no row to two senders at the same time', async () => {
        for (let i = 0; i < 20; i++) await newActive()
        await makeDue()
        const others = Array.from({ length: 5 }, () =>
          createRepository({ sql: database.connectAgain(), ...settings }).outbox.claim(10),
        )
        const claimed = (await Promise.all(others)).flat().flatMap(({ outbox }) => outbox.map((e) => e.payload.eventId))
        expect(claimed).toHaveLength(20)
        expect(new Set(claimed).size).toBe(20)
      })

      if (name === 'Postgres')
        test('skips a row that somebody is just changing, without waiting', async () => {
          const [locked, free] = [await newActive(), await newActive()]
          await makeDue()
          await database.connectAgain().begin(async (tx) => {
            await tx`SELECT 1 FROM media_objects WHERE id = ${locked.id} FOR UPDATE`
            const claimed = await repository.outbox.claim(10)
            expect(claimed.flatMap(({ outbox }) => outbox.map(({ payload }) => payload.id))).toEqual([free.id])
          })
        })
    })
  })
}
