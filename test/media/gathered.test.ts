import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Caller } from '../../src/auth/caller.ts'
import type { Sql } from '../../src/db/connect.ts'
import type { NewObject } from '../../src/media/object/new-object.ts'
import { removable } from '../../src/media/object/transients.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { until } from '../support/clock/until.ts'
import { refusal } from '../support/http/refusal.ts'
import { arrived, callerOf, newCaller, newObject, service } from '../support/media/objects.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'

const settings = { pendingSeconds: 100, retentionSeconds: 1000 }

/** Beside another call of its kind, so that it goes by the statement for many. */
for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`calls that come together on ${name}`, () => {
    let database: OpenDatabase
    let sql: Sql
    let repository: Repository
    beforeAll(async () => {
      database = await open({ migrated: true })
      sql = database.sql
      repository = createRepository({ sql, ...settings })
    }, 60_000)
    afterAll(() => database.close(), 30_000)

    const make = async (status: 'pending' | 'active', some: Partial<NewObject> = {}) => {
      const object = newObject(some)
      expect(await repository.uploads.insert(object)).toBe('inserted')
      if (status === 'active') await repository.uploads.activate(object.id, arrived)
      return object
    }
    const rowOf = async ({ id }: { id: string }) => (await sql`SELECT * FROM media_objects WHERE id = ${id}`)[0]
    const codesOf = (calls: Promise<unknown>[]) =>
      Promise.all(calls.map((call) => call.catch((error: { code: string }) => error.code)))

    test('each insert is answered for its own row: made, too late, not storable, or there already', async () => {
      const there = await make('pending')
      const objects = [
        newObject({ sizeBytes: null, originalName: '日本語 🚀.jpg', metadata: { width: 1, height: null } }),
        newObject({ madeAt: Date.now() - 60_000 }),
        newObject({ originalName: 'a NUL: \0' }),
        { ...newObject(), id: there.id },
        newObject({ visibility: 'public' }),
      ]
      const [made, late, bad, double, open] = await codesOf(objects.map(repository.uploads.insert))
      expect([made, late, double, open]).toEqual(['inserted', 'stale', '23505', 'inserted'])
      expect(bad).toStartWith('22')
      const row = await rowOf(objects[0]!)
      expect(row).toMatchObject({ status: 'pending', size_bytes: null, original_name: '日本語 🚀.jpg', outbox: [] })
      expect(row).toMatchObject({ metadata: { width: 1, height: null }, event_seq: 0, visibility: 'private' })
      expect(row?.links_until.getTime() - Date.now()).toBeWithin(880_000, 901_000)
      expect(await rowOf(objects[4]!)).toMatchObject({ visibility: 'public', user_id: objects[4]!.userId })
      for (const i of [1, 2]) expect(await rowOf(objects[i]!)).toBeUndefined()
    })

    test('an activation finds its pending row, owes its own event, and counts another size for the owner', async () => {
      const [first, sized, done] = [
        await make('pending'),
        await make('pending', { sizeBytes: null }),
        await make('active'),
      ]
      const event = { channel: 'photo:uploaded', fields: { mimeType: 'image/png', width: null } } as const
      const answers = await Promise.all([
        repository.uploads.activate(first.id, { ...arrived, event }),
        repository.uploads.activate(sized.id, { ...arrived, sizeBytes: 77 }),
        repository.uploads.activate(done.id, arrived),
        repository.uploads.activate(crypto.randomUUID(), arrived),
        repository.uploads.activate(first.id, arrived),
      ])
      expect(answers.slice(2)).toEqual([null, null, null])
      const [row] = answers
      expect(row).toMatchObject({ id: first.id, status: 'active', metadata: arrived.metadata, userId: first.userId })
      expect(Object.keys(row!).sort()).toEqual(
        Object.keys((await repository.objects.restore(...(await removed())))!).sort(),
      )
      const { payload } = row!.outbox[0]!
      expect(payload).toMatchObject({ seq: 1, mimeType: 'image/png', width: null, userId: first.userId, id: first.id })
      expect(await rowOf(first)).toMatchObject({ status: 'active', event_seq: 1, outbox: row!.outbox as never })
      expect(answers[1]).toMatchObject({ id: sized.id, sizeBytes: 77 })
      expect(await repository.owners.usage(sized.userId)).toMatchObject({ bytes: 77, objects: 1 })
    })
    const removed = async (): Promise<[string, Caller, { channel: 'photo:restored' }]> => {
      const object = await make('active')
      await repository.objects.remove(object.id, callerOf(object))
      return [object.id, callerOf(object), { channel: 'photo:restored' }]
    }

    test('a removal is for the owner or a service; it says where the copy for others was', async () => {
      const [own, foreign, published, pending] = [
        await make('active'),
        await make('active'),
        await make('active'),
        await make('pending'),
      ]
      await sql`UPDATE media_objects SET public_key = 'public/x' WHERE id = ${published.id}`
      const answers = await Promise.all([
        repository.objects.remove(own.id, callerOf(own)),
        repository.objects.remove(foreign.id, callerOf(own)),
        repository.objects.remove(published.id, service),
        repository.objects.remove(pending.id, callerOf(pending)),
        repository.objects.remove(own.id, newCaller()),
        repository.objects.remove(own.id, callerOf(own)),
      ])
      expect(answers.map((answer) => answer && removable(answer))).toEqual([[], null, ['public/x'], null, null, null])
      expect(answers[0]?.outbox.map(({ channel }) => channel)).toEqual(['photo:uploaded', 'photo:deleted'])
      expect(await rowOf(own)).toMatchObject({ status: 'deleted', event_seq: 2 })
      expect(await rowOf(published)).toMatchObject({ status: 'deleted', public_key: null })
      expect(await rowOf(foreign)).toMatchObject({ status: 'active', event_seq: 1 })
    })

    test('events that were sent leave their rows, and no others', async () => {
      const objects = [await make('active'), await make('active'), await make('active')]
      const boxes = await Promise.all(objects.map((object) => repository.objects.remove(object.id, callerOf(object))))
      const [first, second, third] = boxes.map((box) => box!.outbox)
      await repository.outbox.settle([...first!, second![0]!])
      expect(await rowOf(objects[0]!)).toMatchObject({ outbox: [], outbox_due_at: null })
      const left = await rowOf(objects[1]!)
      expect(left).toMatchObject({ outbox: second!.slice(1) as never })
      expect(left?.outbox_due_at.getTime()).toBeLessThan(Date.now() + 1000)
      expect(await rowOf(objects[2]!)).toMatchObject({ outbox: third as never })
      await repository.outbox.settle([...first!, ...second!, ...third!])
      for (const object of objects) expect(await rowOf(object)).toMatchObject({ outbox: [], outbox_due_at: null })
    })

    test('settled twice at once, a row is settled once, and an event that came between stays', async () => {
      const object = await make('active')
      const [first] = (await repository.objects.remove(object.id, callerOf(object)))!.outbox
      await Promise.all([repository.outbox.settle([first!]), repository.outbox.settle([first!]), make('active')])
      const left = await rowOf(object)
      expect(left?.outbox.map((owed: { channel: string }) => owed.channel)).toEqual(['photo:deleted'])
      const restoring = repository.objects.restore(object.id, callerOf(object), { channel: 'photo:restored' })
      const sent = left?.outbox as never
      const [back] = await Promise.all([restoring, repository.outbox.settle(sent), repository.outbox.settle(sent)])
      expect(back?.outbox.at(-1)?.channel).toBe('photo:restored')
      expect((await rowOf(object))?.outbox).toMatchObject([{ channel: 'photo:restored' }])
    })

    test('each sees what it may see', async () => {
      const [mine, open, theirs] = [
        await make('active'),
        await make('active', { visibility: 'public' }),
        await make('active'),
      ]
      const [me, deleted] = [callerOf(mine), await removed()]
      const viewers: [string, Caller | null][] = [
        [mine.id, me],
        [open.id, me],
        [theirs.id, me],
        [mine.id, null],
        [open.id, null],
        [theirs.id, service],
        [deleted[0], deleted[1]],
        [crypto.randomUUID(), me],
      ]
      const seen = [true, false, null, null, false, true, null, null]
      const visible = await Promise.all(viewers.map(([id, viewer]) => repository.objects.findVisible(id, viewer)))
      expect(visible.map((row) => row?.own ?? null)).toEqual(seen)
      const rendered = await Promise.all(
        viewers.map(([id, viewer]) => repository.renditions.find(id, viewer, 'a version')),
      )
      expect(rendered.map((row) => row?.own ?? null)).toEqual(seen)
      expect(rendered[0]).toMatchObject({ ...visible[0], renditions: {}, outcomes: {}, nonOwnersBytes: 0 })
      const owned = await Promise.all(
        viewers.map(([id, viewer]) => repository.objects.findOwned(id, viewer ?? newCaller())),
      )
      expect(owned.map((row) => row?.id)).toEqual([
        mine.id,
        undefined,
        undefined,
        undefined,
        undefined,
        theirs.id,
        deleted[0],
        undefined,
      ])
      // As the statements for one call give it.
      expect(visible[0]).toEqual(await repository.objects.findVisible(mine.id, me))
      expect(owned[0]).toEqual(await repository.objects.findOwned(mine.id, me))
      const single = await repository.renditions.find(open.id, null, 'a version')
      expect(Object.keys(rendered[1]!)).toEqual(Object.keys(single!))
    })

    test.skipIf(name === 'PGlite')(
      'a row that is locked for long holds up neither deletes nor gets nor uploads',
      async () => {
        const objects = await Promise.all(Array.from({ length: 200 }, () => make('active')))
        const [locked, ...free] = objects
        const [isLocked, unlocked] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
        const locking = database.connectAgain().begin(async (transaction) => {
          await transaction`SELECT FROM media_objects WHERE id = ${locked!.id} FOR UPDATE`
          isLocked.resolve()
          await unlocked.promise
        })
        await isLocked.promise
        let answered = false
        const late = repository.objects.remove(locked!.id, callerOf(locked!)).finally(() => {
          answered = true
        })
        await Promise.all([
          ...free.map(async (object) =>
            expect(await repository.objects.remove(object.id, callerOf(object))).not.toBeNull(),
          ),
          ...objects.map((object) => repository.objects.findOwned(object.id, callerOf(object))),
          ...Array.from({ length: 50 }, () => make('active')),
        ])
        expect(answered).toBe(false)
        unlocked.resolve()
        expect((await late)?.outbox).toHaveLength(2)
        await locking
      },
    )

    test.skipIf(name === 'PGlite')(
      'replicas that do everything to the same objects in opposite orders: no deadlock, one winner',
      async () => {
        const users = Array.from({ length: 64 }, () => crypto.randomUUID())
        const replicas = Array.from({ length: 5 }, () =>
          createRepository({ sql: database.connectAgain(), ...settings }),
        )
        const deadlocks = async () => {
          const [row] = await sql<{ deadlocks: number }[]>`
          SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`
          return row?.deadlocks ?? 0
        }
        const before = await deadlocks()
        for (let round = 0; round < 3; round++) {
          const objects = users.map((userId) => newObject({ userId, sizeBytes: null }))
          await Promise.all(objects.map(repository.uploads.insert))
          const winners = new Map<string, number>()
          await Promise.all(
            replicas.flatMap((replica, i) =>
              (i % 2 === 0 ? objects : objects.toReversed()).map(async (object) => {
                await replica.uploads.insert(newObject({ userId: object.userId }))
                const active = await replica.uploads.activate(object.id, { ...arrived, sizeBytes: 5 })
                const gone = await replica.objects.remove(object.id, callerOf(object))
                if (gone !== null) winners.set(object.id, (winners.get(object.id) ?? 0) + 1)
                if (active !== null) await replica.outbox.settle(active.outbox)
              }),
            ),
          )
          expect([...winners.values()]).toEqual(objects.map(() => 1))
        }
        for (const userId of users)
          expect(await repository.owners.usage(userId)).toMatchObject({ bytes: 3 * (5 + 5 * 12) })
        expect(await deadlocks()).toBe(before)
      },
      30_000,
    )

    test.skipIf(name === 'PGlite')(
      'a server that ends the connection of a batch makes an outage for each, once',
      async () => {
        const objects = await Promise.all(Array.from({ length: 20 }, () => make('active')))
        const replica = createRepository({ sql: database.connectAgain(), ...settings })
        const [isLocked, unlocked] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
        // Statements on the table wait, so that their connection can be ended under them.
        const locking = database.connectAgain().begin(async (transaction) => {
          await transaction`LOCK TABLE media_objects IN ACCESS EXCLUSIVE MODE`
          isLocked.resolve()
          await unlocked.promise
        })
        await isLocked.promise
        const calls = objects.map((object) => refusal(replica.objects.remove(object.id, callerOf(object))))
        await until(async () => {
          const ended = await sql`
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'`
          return ended.length > 0
        })
        for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: 'database_unavailable' })
        unlocked.resolve()
        await locking
        for (const object of objects) expect(await rowOf(object)).toMatchObject({ status: 'active' })
      },
    )
  })
}
