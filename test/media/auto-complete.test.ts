import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Readable } from 'node:stream'
import { Upload } from '@tus/server'
import { migrate } from '../../src/db/migrate.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { Problem } from '../../src/problem.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { TUS_PART_BYTES, type TusStores } from '../../src/storage/tus.ts'
import { refusal } from '../support/http/refusal.ts'
import { domainOn } from '../support/media/domain.ts'
import { newCaller } from '../support/media/objects.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import type { OpenDatabase } from '../support/services/databases.ts'
import { openPGlite } from '../support/services/pglite.ts'
import { type OpenStore, stores } from '../support/services/stores.ts'

setDefaultTimeout(60_000)

const PENDING_SECONDS = 1000
const SECONDS = 60
const picture = await readCorpus('accept/rocket.jpg')
const JPEG = { contentType: 'image/jpeg' }
const tusDeclared = { filename: 'a', fileType: 'image/jpeg', visibility: 'private', metadata: '' } as const
const parts = {
  ...({ filename: 'a', fileType: 'image/jpeg', visibility: 'private', size: 9e6 } as const),
  ...{ sha256: undefined, partChecksums: undefined, idempotencyKey: undefined },
}

for (const { name, present, open } of stores) {
  describe.skipIf(!present)(`uploads that nobody completes, on the ${name} store`, () => {
    let database: OpenDatabase
    let store: OpenStore
    let tusStores: TusStores
    beforeAll(async () => {
      database = await openPGlite()
      await migrate(database.sql)
      store = await open()
      if (store.openTus === undefined) throw new Error('a store without tus uploads')
      tusStores = await store.openTus()
    })
    beforeEach(async () => {
      await database.sql`DELETE FROM media_objects`
    })
    afterAll(async () => {
      tusStores.close()
      await store.close()
      await database.close()
    })

    function createService({
      storage = store.storage,
      autoCompleteSeconds = SECONDS as number | null,
      replaced = {} as Partial<Repository>,
    } = {}) {
      const times = { pendingSeconds: PENDING_SECONDS, retentionSeconds: PENDING_SECONDS }
      const repository = { ...createRepository({ sql: database.sql, ...times }), ...replaced }
      const events: string[] = []
      const bus = createMemoryEventBus()
      const published = {
        ...bus,
        publish: async (sent: Parameters<typeof bus.publish>[0]) => {
          events.push(...sent.map(({ channel, payload }) => `${channel} ${payload.id}`))
          await bus.publish(sent)
        },
      }
      const settings = { pendingSeconds: PENDING_SECONDS, autoCompleteSeconds, maxObjectBytes: 3e7 }
      return { repository, events, ...domainOn({ repository, storage, tusStores, events: published }, settings) }
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

    /** A direct upload whose process dies, or loses the database, when bytes and row are there. */
    const uploadHalf = async (idempotencyKey?: string) => {
      const { uploads } = createRepository({ sql: database.sql, pendingSeconds: 1000, retentionSeconds: 1000 })
      const fail = () => Promise.reject(new Problem('database_unavailable', 'gone'))
      const dying = createService({ replaced: { uploads: { ...uploads, activate: fail, abandon: fail } } })
      const caller = newCaller()
      const file = { name: 'a.jpg', bytes: picture, visibility: 'private', idempotencyKey } as const
      expect(await refusal(dying.media.uploads.direct(caller, file))).toMatchObject({ code: 'database_unavailable' })
      const [row] = await database.sql<{ id: string }[]>`SELECT id FROM media_objects WHERE user_id = ${caller.userId}`
      return { caller, file, id: row?.id ?? '' }
    }

    test('are direct ones as well, whose process died between the last byte and the answer', async () => {
      const service = createService()
      const { caller, id } = await uploadHalf()
      // A process that is only slow has to come first.
      await later({ id }, SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 0, failed: [] })
      await later({ id }, SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 1, failed: [] })
      expect(await service.media.objects.get(id, caller)).toMatchObject({ sizeBytes: picture.length })
      await service.relay.stop()
      expect(service.events).toEqual([`photo:uploaded ${id}`])
    })

    test('give the retry of a direct upload the object that upkeep has made of the first', async () => {
      const service = createService()
      const { caller, file, id } = await uploadHalf('a key')
      await later({ id }, 2 * SECONDS)
      await service.upkeep.run()
      expect(await service.media.uploads.direct(caller, file)).toMatchObject({ id, status: 'active' })
    })

    test('answer a direct upload that slept until upkeep had completed it with that object', async () => {
      const { uploads } = createRepository({ sql: database.sql, pendingSeconds: 1000, retentionSeconds: 1000 })
      const service = createService()
      const activate: typeof uploads.activate = async (id, activation) => {
        await later({ id }, 2 * SECONDS)
        expect(await service.upkeep.run()).toMatchObject({ completed: 1 })
        return uploads.activate(id, activation)
      }
      const slow = createService({ replaced: { uploads: { ...uploads, activate } } })
      const file = { name: 'a.jpg', bytes: picture, visibility: 'private', idempotencyKey: undefined } as const
      expect(await slow.media.uploads.direct(newCaller(), file)).toMatchObject({ status: 'active' })
      await Promise.all([slow.relay.stop(), service.relay.stop()])
      expect([slow.events.length, service.events.length]).toEqual([0, 1])
    })

    test('are completed before they expire where nobody scheduled a look, as while the setting was off', async () => {
      const service = createService()
      const upload = await announce(createService({ autoCompleteSeconds: null }))
      await put(upload)
      await later(upload, PENDING_SECONDS + 1)
      expect(await service.upkeep.run()).toMatchObject({ completed: 1, expired: 0, failed: [] })
      expect(await rowOf(upload)).toMatchObject({ status: 'active' })
    })

    /** A whole part, which S3 takes as such before the length is known, so that nothing has assembled it. */
    const whole = Uint8Array.from({ length: TUS_PART_BYTES }, (_, i) => picture[i] ?? i % 251)
    const sendTus = async ({ media }: Service, size: number) => {
      const caller = newCaller()
      const { tus } = media.uploads
      const begun = await tus.begin(caller, { ...tusDeclared, size })
      const withoutSize = async (key: string) => {
        const record = await tus.records.load(key)
        return record && { ...record, size: null }
      }
      const { signal } = new AbortController()
      const sender = tusStores.open({ records: { ...tus.records, load: withoutSize }, signal, caller: '' })
      await sender.create(new Upload({ id: begun.key, offset: 0 }))
      await sender.getUpload(begun.key)
      await sender.write(Readable.from([Buffer.from(whole)]), begun.key, 0)
      return { caller, ...begun }
    }

    test('are assembled where the process died after the last byte of a tus upload', async () => {
      const service = createService()
      const upload = await sendTus(service, whole.length)
      expect(await store.storage.head(upload.key)).toBeNull()
      await later(upload, SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 1, failed: [] })
      expect(await service.media.objects.get(upload.id, upload.caller)).toMatchObject({ sizeBytes: whole.length })
      expect(await store.storage.head(upload.key)).toMatchObject({ size: whole.length, contentType: 'image/jpeg' })
    })

    test('are assembled by the client that calls complete, too', async () => {
      const service = createService()
      const { id, caller } = await sendTus(service, whole.length)
      expect(await service.media.uploads.complete(id, caller)).toMatchObject({ id, sizeBytes: whole.length })
    })

    test('stay pending while bytes of a tus upload are missing, or while it is written to', async () => {
      const service = createService()
      const { complete } = service.media.uploads
      const [half, held] = [await sendTus(service, 2 * whole.length), await sendTus(service, whole.length)]
      expect(await refusal(complete(half.id, half.caller))).toMatchObject({ code: 'upload_incomplete' })
      const { tusUploads } = service.repository
      const lease = crypto.randomUUID()
      expect(await tusUploads.takeLease(held.key, lease, { ask: false })).toBe('taken')
      expect(await refusal(complete(held.id, held.caller))).toMatchObject({ code: 'upload_incomplete' })
      await later(half, SECONDS)
      await later(held, SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 0, expired: 0, failed: [] })
      expect(await tusUploads.renewLease(held.key, lease)).toEqual({ wanted: false })
      await tusUploads.releaseLease(held.key, lease)
      await later(held, 2 * SECONDS)
      expect(await service.upkeep.run()).toMatchObject({ completed: 1, failed: [] })
      expect(await rowOf(half)).toMatchObject({ status: 'pending' })
    })

    test('cost one call to the store for each look, and one statement for all of a batch', async () => {
      const service = createService()
      const { multipart } = store.storage
      const idle = [
        ...(await Promise.all(Array.from({ length: 5 }, () => announce(service)))),
        await sendTus(service, 2e7),
      ]
      if (multipart !== undefined)
        idle.push({ ...(await service.media.uploads.beginMultipart(newCaller(), parts)), caller: newCaller() })
      for (const upload of idle) await later(upload, SECONDS)
      const calls: string[] = []
      const noted = <T extends object>(port: T, of: readonly (keyof T)[]): T =>
        new Proxy(port, {
          get(target, name) {
            const member: unknown = Reflect.get(target, name)
            if (typeof member !== 'function' || !of.some((one) => one === name)) return member
            return (...args: unknown[]) => {
              calls.push(String(name))
              return Reflect.apply(member, target, args)
            }
          },
        })
      const looking = createService({
        storage: {
          ...noted(store.storage, ['head', 'peek', 'list', 'read']),
          ...(multipart && { multipart: noted(multipart, ['parts']) }),
        },
        replaced: { arrivals: noted(service.repository.arrivals, ['postpone', 'find']) },
      })
      expect(await looking.upkeep.run()).toMatchObject({ completed: 0, failed: [] })
      const looks = calls.filter((call) => call !== 'list')
      expect(looks.toSorted()).toEqual(
        [...Array(5).fill('head'), ...(multipart ? ['parts'] : []), 'postpone'].toSorted(),
      )
    })
  })
}
