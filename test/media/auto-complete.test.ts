import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { migrate } from '../../src/db/migrate.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { Problem } from '../../src/problem.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { refusal } from '../support/http/refusal.ts'
import { domainOn } from '../support/media/domain.ts'
import { newCaller, newObject } from '../support/media/objects.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import type { OpenDatabase } from '../support/services/databases.ts'
import { openPGlite } from '../support/services/pglite.ts'
import { type OpenStore, stores } from '../support/services/stores.ts'

setDefaultTimeout(60_000)

const PENDING_SECONDS = 1000
const SECONDS = 60
const picture = await readCorpus('accept/rocket.jpg')
const JPEG = { contentType: 'image/jpeg' }

for (const { name, present, open } of stores) {
  describe.skipIf(!present)(`uploads that nobody completes, on the ${name} store`, () => {
    let database: OpenDatabase
    let store: OpenStore
    beforeAll(async () => {
      database = await openPGlite()
      await migrate(database.sql)
      store = await open()
    })
    beforeEach(async () => {
      await database.sql`DELETE FROM media_objects`
    })
    afterAll(async () => {
      await store.close()
      await database.close()
    })

    function createService({ storage = store.storage, autoCompleteSeconds = SECONDS as number | null } = {}) {
      const times = { pendingSeconds: PENDING_SECONDS, retentionSeconds: PENDING_SECONDS }
      const repository = createRepository({ sql: database.sql, ...times })
      const events: string[] = []
      const bus = createMemoryEventBus()
      const published = {
        ...bus,
        publish: async (sent: Parameters<typeof bus.publish>[0]) => {
          events.push(...sent.map(({ channel, payload }) => `${channel} ${payload.id}`))
          await bus.publish(sent)
        },
      }
      const settings = { pendingSeconds: PENDING_SECONDS, autoCompleteSeconds }
      return { repository, events, ...domainOn({ repository, storage, events: published }, settings) }
    }
    type Service = ReturnType<typeof createService>

    const declared = { filename: 'a.jpg', fileType: 'image/jpeg', sha256: undefined, idempotencyKey: undefined }
    const announce = async ({ media }: Service, size = picture.length) => {
      const caller = newCaller()
      return { caller, ...(await media.uploads.presign(caller, { ...declared, size, visibility: 'private' })) }
    }
    const put = ({ key }: { key: string }, bytes = picture) => store.storage.put(key, bytes, JPEG)
    const rowOf = async ({ id }: { id: string }) => {
      const [row] = await database.sql<{ status: string; tries: number; due: number | null }[]>`
        SELECT status, complete_tries AS tries, extract(epoch FROM complete_due_at - now())::float8 AS due
        FROM media_objects WHERE id = ${id}`
      return row
    }
    /** As if so many seconds had passed since. */
    const later = async ({ id }: { id: string }, seconds: number) => {
      const by = database.sql`${seconds} * interval '1 second'`
      await database.sql`
        UPDATE media_objects SET complete_due_at = complete_due_at - ${by}, links_until = links_until - ${by},
          status_changed_at = status_changed_at - ${by} WHERE id = ${id}`
    }

    test('are completed when their bytes are there, with one event; the client gets the same object', async () => {
      const service = createService()
      const upload = await announce(service)
      await put(upload)
      expect(await service.upkeep.run()).toMatchObject({ completed: 0, failed: [] })
      await later(upload, SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 1, expired: 0, failed: [] })
      expect(await service.media.uploads.complete(upload.id, upload.caller)).toMatchObject({
        id: upload.id,
        status: 'active',
        sizeBytes: picture.length,
        metadata: { width: 640, height: 427 },
      })
      await service.relay.stop()
      expect(service.events).toEqual([`photo:uploaded ${upload.id}`])
    })

    test('are looked for again after growing pauses, when the link ends, and when they would expire', async () => {
      const service = createService()
      const upload = await announce(service)
      const dues: number[] = []
      for (
        let passed = 0, wait = (await rowOf(upload))?.due;
        typeof wait === 'number';
        wait = (await rowOf(upload))?.due
      ) {
        passed += wait
        dues.push(Math.round(passed))
        await later(upload, wait + 0.01)
        expect(await service.upkeep.run()).toMatchObject({ completed: 0, failed: [] })
      }
      expect(dues[0]).toBe(SECONDS)
      expect(dues[1]).toBeWithin(115, 125)
      expect(dues[2]).toBeWithin(355, 365)
      expect(dues.at(-1)).toBeWithin(PENDING_SECONDS - 2, PENDING_SECONDS + 2)
      expect(await rowOf(upload)).toMatchObject({ status: 'purging' })
    })

    test('are completed even at the last moment', async () => {
      const service = createService()
      const upload = await announce(service)
      await put(upload)
      await later(upload, 2 * PENDING_SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 1, expired: 0, failed: [] })
      expect(await rowOf(upload)).toMatchObject({ status: 'active' })
    })

    test('neither expire nor lose a try while the store does not answer', async () => {
      const refuse = () => Promise.reject(new Problem('storage_unavailable', 'away'))
      const away: Storage = { ...store.storage, peek: refuse, check: refuse }
      const service = createService({ storage: away })
      const upload = await announce(service)
      await put(upload)
      await later(upload, 2 * PENDING_SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 0, expired: 0, failed: ['completeArrived'] })
      expect(await rowOf(upload)).toMatchObject({ status: 'pending', tries: 0 })
      await later(upload, SECONDS + 1)
      expect(await createService().upkeep.run()).toMatchObject({ completed: 1, failed: [] })
    })

    test('expire in the end when a store that answers never shows their bytes, and not with the first failure', async () => {
      const refuse = () => Promise.reject(new Problem('storage_unavailable', 'these bytes cannot be read'))
      const service = createService({ storage: { ...store.storage, peek: refuse } })
      const [upload, other] = [await announce(service), await announce(service)]
      await Promise.all([put(upload), put(other)])
      await later(upload, 2 * PENDING_SECONDS)
      await later(other, 2 * PENDING_SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 0, expired: 0, failed: ['completeArrived'] })
      await later(other, (await rowOf(other))?.due ?? 0)
      expect(await createService().upkeep.run()).toMatchObject({ completed: 1, failed: [] })
      let looks = 1
      for (let due = (await rowOf(upload))?.due; typeof due === 'number'; due = (await rowOf(upload))?.due) {
        await later(upload, due + 0.01)
        await service.upkeep.run()
        looks += 1
        expect(looks).toBeLessThan(20)
      }
      expect(looks).toBeGreaterThan(3)
      expect((await rowOf(upload))?.status).toBeOneOf(['purging', undefined])
      expect(await store.storage.head(upload.key)).toBeNull()
    })

    test('are removed when their bytes are not what was declared', async () => {
      const service = createService()
      const text = new TextEncoder().encode('not a picture at all')
      const upload = await announce(service, text.length)
      await put(upload, text)
      await later(upload, SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 0, failed: [] })
      expect(await rowOf(upload)).toMatchObject({ status: 'purging' })
      expect(await store.storage.head(upload.key)).toBeNull()
      expect(service.events).toEqual([])
    })

    test('do not come back when they were cancelled', async () => {
      const service = createService()
      const upload = await announce(service)
      await put(upload)
      await service.media.uploads.abort(upload.id, upload.caller)
      await later(upload, SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 0, failed: [] })
      expect(await store.storage.head(upload.key)).toBeNull()
      const error = await refusal(service.media.uploads.complete(upload.id, upload.caller))
      expect(error).toMatchObject({ code: 'not_found' })
    })

    test('can be cancelled no more', async () => {
      const service = createService()
      const upload = await announce(service)
      await put(upload)
      await later(upload, SECONDS)
      await service.upkeep.run()
      const error = await refusal(service.media.uploads.abort(upload.id, upload.caller))
      expect(error).toMatchObject({ code: 'state_conflict' })
    })

    test('are completed once, by whichever of the client and two replicas comes first', async () => {
      const replicas = [createService(), createService()] as const
      const upload = await announce(replicas[0])
      await put(upload)
      await later(upload, SECONDS)
      const [object] = await Promise.all([
        replicas[0].media.uploads.complete(upload.id, upload.caller),
        ...replicas.map(({ upkeep }) => upkeep.run()),
      ])
      expect(object).toMatchObject({ id: upload.id, status: 'active' })
      await Promise.all(replicas.map(({ relay }) => relay.stop()))
      expect(replicas.flatMap(({ events }) => events)).toEqual([`photo:uploaded ${upload.id}`])
    })

    test('expire with their bytes where the setting is off', async () => {
      const service = createService({ autoCompleteSeconds: null })
      const upload = await announce(service)
      const before = await announce(createService())
      for (const each of [upload, before]) {
        await put(each)
        await later(each, 2 * PENDING_SECONDS)
      }
      expect((await rowOf(upload))?.due).toBeNull()
      expect(await service.upkeep.run()).toMatchObject({ completed: 0, expired: 2, failed: [] })
    })

    test('are those over a link only: a direct upload that is under way is let alone', async () => {
      const { repository, upkeep } = createService()
      const object = newObject()
      await repository.uploads.insert(object)
      await put(object, picture)
      expect(await rowOf(object)).toMatchObject({ status: 'pending', due: null })
      expect(await upkeep.run()).toMatchObject({ completed: 0, failed: [] })
    })
  })
}
