import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Caller } from '../../src/auth/caller.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { refusal } from '../support/http/refusal.ts'
import { domainOn } from '../support/media/domain.ts'
import { newCaller } from '../support/media/objects.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'
import { JPEG, openDisk } from '../support/services/stores.ts'

setDefaultTimeout(60_000)

const DAY = 86_400
const picture = await readCorpus('accept/rocket.jpg')

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`held objects on ${name}`, () => {
    let database: OpenDatabase
    let disk: Awaited<ReturnType<typeof openDisk>>
    beforeAll(async () => {
      database = await open({ migrated: true })
      disk = await openDisk()
    })
    beforeEach(async () => {
      await database.sql`DELETE FROM media_objects`
    })
    afterAll(async () => {
      await disk.close()
      await database.close()
    })

    function createService() {
      const events: unknown[] = []
      const bus = createMemoryEventBus()
      const published = {
        ...bus,
        publish: async (sent: Parameters<typeof bus.publish>[0]) => void events.push(...sent),
      }
      const times = { pendingSeconds: DAY, retentionSeconds: DAY }
      const repository = createRepository({ sql: database.sql, ...times })
      const ports = { repository, storage: disk.storage, events: published }
      return { events, ...domainOn(ports, { pendingSeconds: DAY, autoCompleteSeconds: 60 }) }
    }
    const upload = (caller: Caller, holdSeconds: number | undefined, idempotencyKey?: string) =>
      createService().media.uploads.direct(caller, {
        ...{ name: 'a.jpg', bytes: picture, visibility: 'private', type: '', holdSeconds, idempotencyKey },
      } as const)
    const pass = async (seconds: number) => {
      await database.sql`
        UPDATE media_objects SET expires_at = expires_at - ${seconds} * interval '1 second',
          status_changed_at = status_changed_at - ${seconds} * interval '1 second',
          links_until = links_until - ${seconds} * interval '1 second'`
    }
    const statusOf = async (id: string) =>
      (await database.sql<{ status: string }[]>`SELECT status FROM media_objects WHERE id = ${id}`)[0]?.status
    const claim = (ids: string[], { userId }: Caller) => createService().media.objects.claim(ids, userId)
    const inSeconds = (at: Date | null) => Math.round(((at?.getTime() ?? 0) - Date.now()) / 1000)

    test('are held from their completion on, whichever way they came in', async () => {
      const { media } = createService()
      const caller = newCaller()
      expect(inSeconds((await upload(caller, 600)).expiresAt)).toBeWithin(590, 611)
      expect((await upload(caller, undefined)).expiresAt).toBeNull()
      const declared = { filename: 'a.jpg', fileType: 'image/jpeg', visibility: 'private' } as const
      const more = { size: picture.length, sha256: undefined, idempotencyKey: undefined, holdSeconds: 600 }
      const link = await media.uploads.presign(caller, { ...declared, ...more })
      const tus = await media.uploads.tus.begin(caller, { ...declared, ...more, metadata: '' })
      for (const { id, key } of [link, tus]) {
        await disk.storage.put(key, picture, JPEG)
        await pass(3600)
        expect(inSeconds((await media.uploads.complete(id, caller)).expiresAt)).toBeWithin(590, 611)
      }
    })

    test('move to the bin when nobody claims them, with an event that says why; restored, they stay', async () => {
      const service = createService()
      const { upkeep, media, relay, events } = service
      const caller = newCaller()
      const { id } = await upload(caller, 600)
      await pass(590)
      expect(await upkeep.run()).toMatchObject({ unclaimed: 0, failed: [] })
      await pass(11)
      expect(await upkeep.run()).toMatchObject({ unclaimed: 1, failed: [] })
      await relay.stop()
      expect(events).toMatchObject([{ channel: 'photo:deleted', payload: { id, reason: 'unclaimed', seq: 2 } }])
      expect(await media.objects.restore(id, caller)).toMatchObject({ status: 'active', expiresAt: null })
      expect(await upkeep.run()).toMatchObject({ unclaimed: 0 })
      const other = await upload(caller, 600)
      await pass(601)
      await upkeep.run()
      await pass(DAY)
      expect(await upkeep.run()).toMatchObject({ retired: 1, failed: [] })
      expect(await statusOf(other.id)).toBeOneOf(['purging', undefined])
      expect(await statusOf(id)).toBe('active')
    })

    test('stay when they are claimed, also twice, and so do those that were never held', async () => {
      const caller = newCaller()
      const [held, free] = [await upload(caller, 600), await upload(caller, undefined)]
      const claimed = await claim([free.id, held.id], caller)
      expect(claimed.map(({ id, expiresAt }) => [id, expiresAt])).toEqual([
        [free.id, null],
        [held.id, null],
      ])
      expect(await claim([held.id], caller)).toHaveLength(1)
      await pass(601)
      expect(await createService().upkeep.run()).toMatchObject({ unclaimed: 0 })
    })

    test('are claimed all or not at all: a form with the id of another user, or of nothing, is 404', async () => {
      const { media } = createService()
      const [caller, other] = [newCaller(), newCaller()]
      const [own, foreign, erased] = [await upload(caller, 600), await upload(other, 600), await upload(other, 600)]
      const { id: gone } = await upload(caller, 600)
      await database.sql`UPDATE media_objects SET status = 'purging', upkeep_due_at = now() WHERE id = ${gone}`
      for (const id of [foreign.id, erased.id, gone, crypto.randomUUID()])
        expect(await refusal(claim([own.id, id], caller))).toMatchObject({ code: 'not_found', ids: undefined })
      expect((await media.objects.get(own.id, caller)).expiresAt).not.toBeNull()
      expect((await media.objects.get(foreign.id, other)).expiresAt).not.toBeNull()
    })

    test('in the bin, or not complete, are a conflict that names them', async () => {
      const { media } = createService()
      const caller = newCaller()
      const [own, binned] = [await upload(caller, 600), await upload(caller, 600)]
      await media.objects.remove(binned.id, caller)
      const pending = await media.uploads.presign(caller, {
        ...{ filename: 'a.jpg', fileType: 'image/jpeg', visibility: 'private' },
        ...{ size: 1, sha256: undefined, idempotencyKey: undefined, holdSeconds: 600 },
      } as const)
      const refused = await refusal(claim([binned.id, own.id, pending.id], caller))
      expect(refused).toMatchObject({ code: 'state_conflict' })
      expect('ids' in refused && refused.ids).toEqual(expect.arrayContaining([binned.id, pending.id]))
      expect('ids' in refused && refused.ids).toHaveLength(2)
      expect((await media.objects.get(own.id, caller)).expiresAt).not.toBeNull()
    })

    test('claimed by two forms at once, in opposite orders, are both forms’', async () => {
      const caller = newCaller()
      for (let times = 0; times < 10; times += 1) {
        const ids = await Promise.all(Array.from({ length: 6 }, async () => (await upload(caller, 600)).id))
        const both = await Promise.all([claim(ids, caller), claim(ids.toReversed(), caller)])
        expect(both.map((items) => items.map(({ id }) => id))).toEqual([ids, ids.toReversed()])
      }
    })

    test('claimed just as their hold ends stay or are a conflict, never both', async () => {
      const caller = newCaller()
      for (let times = 0; times < 10; times += 1) {
        const ids = await Promise.all(Array.from({ length: 2 }, async () => (await upload(caller, 600)).id))
        await pass(601)
        const [outcome] = await Promise.all([
          claim(ids, caller).then(
            () => 'claimed',
            ({ code }) => code,
          ),
          createService().upkeep.run(),
        ])
        // A row that the claim had locked is left for the next pass.
        if (outcome !== 'claimed') await createService().upkeep.run()
        const states = [...new Set(await Promise.all(ids.map(statusOf)))]
        if (outcome === 'claimed') expect(states).toEqual(['active'])
        else expect([outcome, states]).toEqual(['state_conflict', ['deleted']])
      }
    })

    test('of a retry are those of the first; another hold is another request', async () => {
      const caller = newCaller()
      const { id } = await upload(caller, 600, 'a key')
      expect((await upload(caller, 600, 'a key')).id).toBe(id)
      expect(await refusal(upload(caller, 700, 'a key'))).toMatchObject({ code: 'idempotency_conflict' })
    })
  })
}
