import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { NewObject } from '../../src/media/object/new-object.ts'
import type { Status } from '../../src/media/object/object.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { refusal } from '../support/http/refusal.ts'
import { arrived, callerOf, changed, newCaller, newObject, restored, service } from '../support/media/objects.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'

const settings = { pendingSeconds: 100, retentionSeconds: 1000 }
const statuses: Status[] = ['pending', 'active', 'deleted', 'purging']

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`the repository on ${name}`, () => {
    let database: OpenDatabase
    let repository: Repository
    beforeAll(async () => {
      database = await open({ migrated: true })
      repository = createRepository({ sql: database.sql, ...settings })
    }, 60_000)
    afterAll(() => database.close(), 30_000)

    /** An object that has come to this status in the way objects do. */
    const make = async (status: Status, some: Partial<NewObject> = {}) => {
      const object = newObject(some)
      expect(await repository.uploads.insert(object)).toBe('inserted')
      if (status === 'purging') await repository.uploads.abandon(object.id)
      if (status === 'active' || status === 'deleted') await repository.uploads.activate(object.id, arrived)
      if (status === 'deleted') await repository.objects.remove(object.id, callerOf(object))
      return object
    }
    const rowOf = async ({ id }: { id: string }) =>
      (await database.sql`SELECT * FROM media_objects WHERE id = ${id}`)[0]

    describe('insert', () => {
      test('makes a pending row that lasts as long as the links to it', async () => {
        const object = await make('pending', { sizeBytes: null, originalName: '日本語 🚀.jpg' })
        const row = await rowOf(object)
        expect(row).toMatchObject({ status: 'pending', size_bytes: null, original_name: '日本語 🚀.jpg' })
        expect(row).toMatchObject({ outbox: [], event_seq: 0, outbox_due_at: null, visibility: 'private' })
        expect(row?.links_until.getTime() - Date.now()).toBeWithin(895_000, 901_000)
      })

      test('refuses an id older than half of PENDING_SECONDS, whose bytes upkeep may have removed', async () => {
        const slept = newObject({ madeAt: Date.now() - 60_000 })
        expect(await repository.uploads.insert(slept)).toBe('stale')
        expect(await rowOf(slept)).toBeUndefined()
        expect(await repository.uploads.insert(newObject({ madeAt: Date.now() - 40_000 }))).toBe('inserted')
      })

      test('makes one row for one idempotency key of one person, until that row is on its way out', async () => {
        const idempotency = { key: 'once', hash: 'a'.repeat(64) }
        const first = await make('pending', { idempotency })
        const { userId } = first
        expect(await repository.uploads.insert(newObject({ userId, idempotency }))).toBe('taken')
        await make('pending', { idempotency })
        await repository.uploads.abandon(first.id)
        expect(await repository.uploads.insert(newObject({ userId, idempotency }))).toBe('inserted')
      })
    })

    describe('the claim of a public copy', () => {
      const shown = async () => {
        const object = await make('active', { visibility: 'public' })
        await database.sql`UPDATE media_objects SET publish_due_at = NULL WHERE id <> ${object.id}`
        return object
      }
      const dueNow = (id: string) => database.sql`UPDATE media_objects SET publish_due_at = now() WHERE id = ${id}`

      test('is given back by its own holder, as if it had not been taken', async () => {
        const { id } = await shown()
        await dueNow(id)
        const claim = await repository.publicCopies.claim()
        expect(claim?.id).toBe(id)
        await repository.publicCopies.release(claim ?? expect.unreachable())
        const row = await rowOf({ id })
        expect(row?.publish_tries).toBe(0)
        expect(row?.publish_due_at.getTime() - Date.now()).toBeWithin(50_000, 61_000)
      })

      test('is not given back by one that slept, while another has it', async () => {
        const { id } = await shown()
        await dueNow(id)
        const asleep = await repository.publicCopies.claim()
        await dueNow(id)
        const awake = await repository.publicCopies.claim()
        expect(awake?.id).toBe(id)
        const before = await rowOf({ id })
        await repository.publicCopies.release(asleep ?? expect.unreachable())
        expect(await rowOf({ id })).toEqual(before)
      })
    })

    describe('an arrow', () => {
      const arrows: { name: string; from: Status; to: Status; go: (object: NewObject) => Promise<unknown> }[] = [
        { name: 'activate', from: 'pending', to: 'active', go: ({ id }) => repository.uploads.activate(id, arrived) },
        { name: 'abandon', from: 'pending', to: 'purging', go: ({ id }) => repository.uploads.abandon(id) },
        { name: 'remove', from: 'active', to: 'deleted', go: (o) => repository.objects.remove(o.id, callerOf(o)) },
        {
          name: 'restore',
          from: 'deleted',
          to: 'active',
          go: (o) => repository.objects.restore(o.id, callerOf(o), restored),
        },
        {
          name: 'update',
          from: 'active',
          to: 'active',
          go: (o) => repository.objects.update(o.id, callerOf(o), { visibility: 'public', publicKey: null }, changed),
        },
      ]
      for (const { name, from, to, go } of arrows) {
        test(`${name} leads from ${from} to ${to}`, async () => {
          const object = await make(from)
          expect(await go(object)).toBeTruthy()
          expect((await rowOf(object))?.status).toBe(to)
        })

        test(`${name} changes nothing from any other status`, async () => {
          for (const status of statuses.filter((status) => status !== from)) {
            const object = await make(status)
            const before = await rowOf(object)
            expect(await go(object)).toBeFalsy()
            expect(await rowOf(object)).toEqual(before)
          }
          expect(await go(newObject())).toBeFalsy()
        })
      }

      test('that many take at the same time is taken once, with one event', async () => {
        const object = await make('pending')
        const won = await Promise.all(Array.from({ length: 8 }, () => repository.uploads.activate(object.id, arrived)))
        expect(won.filter((row) => row !== null)).toHaveLength(1)
        expect((await rowOf(object))?.outbox).toHaveLength(1)
      })

      test('to active and one to purging at the same time: one wins and the other finds nothing', async () => {
        for (let i = 0; i < 5; i++) {
          const object = await make('pending')
          const [activated, abandoned] = await Promise.all([
            repository.uploads.activate(object.id, arrived),
            repository.uploads.abandon(object.id),
          ])
          expect(activated !== null).toBe(!abandoned)
          expect((await rowOf(object))?.status).toBe(abandoned ? 'purging' : 'active')
        }
      })

      test('back from the bin is there only within the retention time', async () => {
        const [inTime, late] = [await make('deleted'), await make('deleted')]
        const age = (object: NewObject, seconds: number) => database.sql`
          UPDATE media_objects SET status_changed_at = now() - ${seconds} * interval '1 second' WHERE id = ${object.id}`
        await age(inTime, 990)
        await age(late, 1010)
        expect((await repository.objects.restore(inTime.id, callerOf(inTime), restored))?.status).toBe('active')
        expect(await repository.objects.restore(late.id, callerOf(late), restored)).toBeNull()
      })

      test('gives back the object as it is from then on', async () => {
        const object = await make('pending', { sizeBytes: null })
        const { outbox, createdAt, ...row } =
          (await repository.uploads.activate(object.id, arrived)) ?? expect.unreachable()
        const { id, userId, originalName, mimeType, key, visibility } = object
        const { sizeBytes, metadata } = arrived
        expect(row).toMatchObject({
          id,
          userId,
          originalName,
          mimeType,
          key,
          visibility,
          sizeBytes,
          metadata,
          status: 'active',
        })
        expect(createdAt).toBeInstanceOf(Date)
        expect(outbox).toHaveLength(1)
      })

      test('update changes what it is given and leaves the rest', async () => {
        const object = await make('active')
        const caller = callerOf(object)
        const renamed = await repository.objects.update(
          object.id,
          caller,
          { originalName: 'new.jpg', publicKey: null },
          changed,
        )
        expect(renamed).toMatchObject({ originalName: 'new.jpg', visibility: 'private' })
        const shown = await repository.objects.update(
          object.id,
          caller,
          { visibility: 'public', publicKey: null },
          changed,
        )
        expect(shown).toMatchObject({ originalName: 'new.jpg', visibility: 'public' })
      })
    })

    describe('ownership', () => {
      test('keeps others from changing an object, and a service may', async () => {
        const object = await make('active')
        const before = await rowOf(object)
        const other = newCaller()
        expect(
          await repository.objects.update(object.id, other, { visibility: 'public', publicKey: null }, changed),
        ).toBeNull()
        expect(await repository.objects.remove(object.id, other)).toBeNull()
        expect(await rowOf(object)).toEqual(before)
        expect(
          await repository.objects.update(object.id, service, { visibility: 'public', publicKey: null }, changed),
        ).not.toBeNull()
        expect(await repository.objects.remove(object.id, service)).not.toBeNull()
        expect(await repository.objects.restore(object.id, other, restored)).toBeNull()
        expect(await repository.objects.restore(object.id, service, restored)).not.toBeNull()
      })

      test('lets others see what is public and active, and nothing else', async () => {
        const seenBy = async (object: NewObject) => {
          const viewers = [callerOf(object), newCaller(), null, service, 'link'] as const
          return Promise.all(
            viewers.map(async (viewer) => (await repository.objects.findVisible(object.id, viewer)) !== null),
          )
        }
        expect(await seenBy(await make('active'))).toEqual([true, false, false, true, true])
        expect(await seenBy(await make('active', { visibility: 'public' }))).toEqual([true, true, true, true, true])
        for (const status of ['pending', 'deleted', 'purging'] as const)
          expect(await seenBy(await make(status, { visibility: 'public' }))).toEqual(Array(5).fill(false))
      })

      test('finds an object in whatever state for its owner and a service only', async () => {
        for (const status of statuses) {
          const object = await make(status, { visibility: 'public' })
          expect((await repository.objects.findOwned(object.id, callerOf(object)))?.status).toBe(status)
          expect((await repository.objects.findOwned(object.id, service))?.status).toBe(status)
          expect(await repository.objects.findOwned(object.id, newCaller())).toBeNull()
        }
      })
    })

    describe('list', () => {
      const { userId } = newCaller()
      const page = { status: 'active', type: undefined, before: undefined, limit: 100 } as const
      const types = ['image/jpeg', 'image/png', 'video/mp4', 'image/jpeg', 'image/png']
      const mine: NewObject[] = []
      beforeAll(async () => {
        for (const [i, mimeType] of types.entries())
          mine.push(await make('active', { userId, mimeType, madeAt: Date.now() - 10_000 + i }))
        for (const status of ['pending', 'deleted', 'purging'] as const) await make(status, { userId })
        await make('active', { visibility: 'public' })
      })
      const idsOf = (objects: { id: string }[]) => objects.map(({ id }) => id)
      const newestFirst = () => idsOf(mine).reverse()

      test("gives the owner's active objects, newest first", async () => {
        expect(idsOf(await repository.objects.list(userId, page))).toEqual(newestFirst())
      })

      test('gives pages that neither repeat nor leave out an object, though one is added meanwhile', async () => {
        const first = idsOf(await repository.objects.list(userId, { ...page, limit: 2 }))
        const added = await make('active', { userId, madeAt: Date.now() + 1000 })
        const second = idsOf(await repository.objects.list(userId, { ...page, limit: 2, before: first[1] }))
        const third = idsOf(await repository.objects.list(userId, { ...page, limit: 2, before: second[1] }))
        expect([...first, ...second, ...third]).toEqual(newestFirst())
        await repository.objects.remove(added.id, service)
      })

      test('filters by a type, by a family of types, and by the bin', async () => {
        const typed = async (type: string) =>
          (await repository.objects.list(userId, { ...page, type })).map((o) => o.mimeType)
        expect(await typed('image/png')).toEqual(['image/png', 'image/png'])
        expect((await typed('image/*')).sort()).toEqual(['image/jpeg', 'image/jpeg', 'image/png', 'image/png'])
        expect(await typed('image/%')).toEqual([])
        const bin = await repository.objects.list(userId, { ...page, status: 'deleted' })
        expect(bin.length).toBeGreaterThan(0)
        expect(bin.every(({ status }) => status === 'deleted')).toBe(true)
      })

      test("by ids gives those that are the owner's and active", async () => {
        const foreign = await make('active', { visibility: 'public' })
        const [deleted, pending] = [await make('deleted', { userId }), await make('pending', { userId })]
        const asked = [...idsOf(mine.slice(1, 3)), foreign.id, deleted.id, pending.id, newObject().id]
        expect(idsOf(await repository.objects.listByIds(userId, asked))).toEqual(idsOf(mine.slice(1, 3)).reverse())
      })
    })

    test('the database itself refuses rows that cannot be true', async () => {
      const object = await make('active')
      const set = (change: string) =>
        database.sql.unsafe(`UPDATE media_objects SET ${change} WHERE id = '${object.id}'`).execute()
      for (const change of [
        `status = 'lost'`,
        `visibility = 'secret'`,
        'size_bytes = -1',
        'size_bytes = NULL',
        'outbox_due_at = NULL',
        `outbox = '[]'`,
      ])
        expect(await refusal(set(change))).toMatchObject({ code: '23514' })
      const taken = await make('pending')
      expect(await refusal(set(`storage_key = '${taken.key}'`))).toMatchObject({ code: '23505' })
      expect(await refusal(set('links_until = NULL'))).toMatchObject({ code: '23502' })
    })
  })
}
