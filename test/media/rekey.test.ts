import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import type { Caller } from '../../src/auth/caller.ts'
import type { MediaEvent } from '../../src/events/events.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import type { StoredObject } from '../../src/media/object/object.ts'
import { NO_QUOTAS } from '../../src/media/object/quota.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { reconcile, repair } from '../../src/media/upkeep/reconcile.ts'
import { DecodeFailure, type Decoders } from '../../src/pictures/decoding.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { domainOn } from '../support/media/domain.ts'
import { createInProcessDecoders } from '../support/pictures/in-process.ts'
import type { OpenDatabase } from '../support/services/databases.ts'
import { openPGlite } from '../support/services/pglite.ts'
import { type OpenStore, stores } from '../support/services/stores.ts'

const ORIGIN = 'http://media.test'
const CDN = 'https://cdn.example.com'
const owner: Caller = { userId: '11111111-2222-4333-8444-555555555555', role: 'user' }
const allowedTypes = new Set(['image/jpeg', 'image/png'])
const limits = {
  maxUploadBytes: 1e7,
  maxObjectBytes: 1e7,
  renditionSizes: [160, 320],
  signedUrlSeconds: 900,
  uploadUrlSeconds: 900,
  allowedTypes,
  quotas: NO_QUOTAS,
}
const rocket = await readFile(join(import.meta.dir, '../corpus/accept/rocket.jpg'))

for (const { name, present, open } of stores) {
  describe.skipIf(!present)(`re-keying on the ${name} store`, () => {
    let database: OpenDatabase
    let store: OpenStore
    let events: MediaEvent[]
    let ahead = 0
    beforeAll(async () => {
      database = await openPGlite({ migrated: true })
      store = await open()
    }, 60_000)
    beforeEach(async () => {
      await database.sql`DELETE FROM media_objects`
      for (const home of ['media/', 'public/']) await store.storage.removePrefix(home)
      events = []
      ahead = 0
    })
    afterAll(async () => {
      await store.close()
      await database.close()
    }, 30_000)

    type Some = { cdnBaseUrl?: string | undefined; publicOriginals?: boolean; decoders?: Decoders; storage?: Storage }
    function createService(some: Some = {}) {
      const { storage, decoders, ...settings } = { cdnBaseUrl: CDN, storage: store.storage, ...some }
      const bus = createMemoryEventBus()
      bus.subscribe((event) => events.push(event))
      const repository = createRepository({ sql: database.sql, pendingSeconds: 1000, retentionSeconds: 1000 })
      const ports = { repository, storage, events: bus, now: () => Date.now() + ahead, ...(decoders && { decoders }) }
      const { media, upkeep, publicAccess, makePublicCopy } = domainOn(ports, { ...limits, ...settings })
      return { media, repository, upkeep, urlOf: publicAccess.urlOf, makePublicCopy }
    }

    const keys = async () => (await store.storage.list({ prefix: '', limit: 100 })).map(({ key }) => key)
    const file = (visibility: 'private' | 'public') => ({
      ...{ name: 'rocket.jpg', bytes: rocket, visibility, idempotencyKey: undefined },
    })
    const declaration = (visibility: 'private' | 'public') => ({
      ...{ filename: 'r.jpg', fileType: 'image/jpeg', size: rocket.length, sha256: undefined },
      ...{ visibility, idempotencyKey: undefined },
    })
    const send = async ({ uploadUrl, headers }: { uploadUrl: string; headers: Record<string, string> }) =>
      (await fetch(new URL(uploadUrl, store.origin), { method: 'PUT', headers, body: rocket })).status
    const announced = async (count: number) => {
      for (let i = 0; i < 100 && events.length < count; i++) await Bun.sleep(20)
      return events.map(({ channel, payload }) => [channel, payload.url])
    }

    const owned = (row: StoredObject) => ({ ...row, own: true })
    const foreign = (row: StoredObject) => ({ ...row, own: false })
    const bytesAt = async (key: string) => store.storage.read(key, { start: 0, length: 1e7 })
    const publicKeys = async () => (await keys()).filter((key) => key.startsWith('public/'))

    test('the original of a public picture stays, a copy without metadata comes to where the CDN finds it', async () => {
      const { media, upkeep, urlOf } = createService()
      const closed = await media.uploads.direct(owner, file('private'))
      const open = await media.uploads.direct(owner, file('public'))
      expect(urlOf(open)).toBe(`${ORIGIN}/media/${open.id}/content`)
      expect(await keys()).toEqual([closed.key, open.key])
      expect(await upkeep.run()).toMatchObject({ published: 1, failed: [] })
      const row = await media.objects.get(open.id, null)
      expect(row.publicKey).toMatch(new RegExp(`^public/${open.id}/[0-9a-f]{12}/clean\\.jpg$`))
      expect(urlOf(row)).toBe(`${CDN}/${row.publicKey}`)
      expect(await keys()).toEqual([closed.key, open.key, row.publicKey ?? ''])
      expect(Buffer.from(await bytesAt(open.key)).equals(rocket)).toBe(true)
      const { icc, exif, width } = await sharp(await bytesAt(row.publicKey ?? '')).metadata()
      expect({ icc, exif, width }).toEqual({ icc: undefined, exif: undefined, width: 640 })
      expect((await announced(3)).slice(1)).toEqual([
        ['photo:uploaded', `${ORIGIN}/media/${open.id}/content`],
        ['photo:updated', `${CDN}/${row.publicKey}`],
      ] as never)
      expect((await upkeep.run()).published).toBe(0)
    })

    test('a change of visibility gives the CDN a copy under a key of its own, or takes it away at once', async () => {
      const { media, makePublicCopy, urlOf } = createService()
      const first = await media.uploads.direct(owner, file('private'))
      const seen = new Set<string>()
      for (let i = 0; i < 2; i += 1) {
        const open = await media.objects.update(first.id, owner, { visibility: 'public' })
        const publicKey = await makePublicCopy(open, 'upkeep')
        seen.add(publicKey)
        expect(await publicKeys()).toEqual([publicKey])
        const closed = await media.objects.update(first.id, owner, { visibility: 'private' })
        expect(urlOf(closed)).toBe(`${ORIGIN}/media/${first.id}/content`)
        expect(await keys()).toEqual([first.key])
      }
      expect(seen.size).toBe(2)
      const urls = (await announced(7)).map(([, url]) => url)
      const [one, other] = [...seen].map((key) => `${CDN}/${key}`)
      const own = `${ORIGIN}/media/${first.id}/content`
      expect(urls).toEqual([own, own, one, own, own, other, own] as never)
    })

    test('a file that is no picture goes to the CDN as it is, and so do pictures where that is set', async () => {
      const { media, upkeep } = createService({ publicOriginals: true })
      const open = await media.uploads.direct(owner, file('public'))
      await database.sql`UPDATE media_objects SET mime_type = 'video/mp4'`
      await createService().upkeep.run()
      const film = await media.objects.get(open.id, null)
      expect(film.publicKey).toMatch(/^public\/.*\/original\.mp4$/)
      expect(Buffer.from(await bytesAt(film.publicKey ?? '')).equals(rocket)).toBe(true)
      const picture = await media.uploads.direct(owner, file('public'))
      await upkeep.run()
      const { publicKey } = await media.objects.get(picture.id, null)
      expect(Buffer.from(await bytesAt(publicKey ?? '')).equals(rocket)).toBe(true)
    })

    test('pictures that a CDN has as they came are taken from it where they must be clean', async () => {
      const before = createService({ publicOriginals: true })
      const { id, key } = await before.media.uploads.direct(owner, file('public'))
      await before.upkeep.run()
      const dirty = await before.media.objects.get(id, null)
      const { media, upkeep, urlOf } = createService()
      expect(urlOf(dirty)).toBe(`${ORIGIN}/media/${id}/content`)
      expect(await upkeep.run()).toMatchObject({ failed: [] })
      const { publicKey } = await media.objects.get(id, null)
      expect(publicKey).toContain('/clean.')
      expect(await keys()).toEqual([key, publicKey ?? ''])
    })

    test('originals that an earlier version gave to the CDN come back', async () => {
      const { media, upkeep } = createService()
      const { id, key } = await media.uploads.direct(owner, file('public'))
      const exposed = key.replace('media/', 'public/')
      await store.storage.put(exposed, rocket, { contentType: 'image/jpeg' })
      await store.storage.remove([key])
      await database.sql`UPDATE media_objects SET storage_key = ${exposed}`
      expect(await upkeep.run()).toMatchObject({ published: 1, failed: [] })
      const row = await media.objects.get(id, owner)
      expect(row.key).toStartWith(`media/${id}/`)
      expect(await keys()).toEqual([row.key, row.publicKey ?? ''])
      expect(Buffer.from(await bytesAt(row.key)).equals(rocket)).toBe(true)
    })

    test('two changes at once leave the object where its visibility says', async () => {
      const { media, makePublicCopy } = createService()
      const { id } = await media.uploads.direct(owner, file('public'))
      await makePublicCopy(await media.objects.get(id, null), 'upkeep')
      const open = await media.objects.get(id, null)
      const change = (visibility: 'private' | 'public') => media.objects.update(id, owner, { visibility })
      await Promise.allSettled([change('public'), change('private'), makePublicCopy(open, 'upkeep'), change('public')])
      const row = await media.objects.get(id, owner)
      expect(await publicKeys()).toEqual(row.publicKey === null ? [] : [row.publicKey])
    })

    test('an object that becomes private while its copy is made has none', async () => {
      const { media, makePublicCopy } = createService()
      const open = await media.uploads.direct(owner, file('public'))
      const making = makePublicCopy(open, 'upkeep').catch((error) => error.code)
      await media.objects.update(open.id, owner, { visibility: 'private' })
      expect(await making).toBe('not_found')
      expect(await keys()).toEqual([open.key])
    })

    test('two replicas that are asked at once give the same copy, and keep one; each makes one', async () => {
      let puts = 0
      const put: Storage['put'] = async (...arguments_) => {
        puts += 1
        return store.storage.put(...arguments_)
      }
      const { media, makePublicCopy } = createService({ storage: { ...store.storage, put } })
      const open = await media.uploads.direct(owner, file('public'))
      puts = 0
      const made = await Promise.all([
        makePublicCopy(open, 'upkeep'),
        makePublicCopy(open, 'upkeep'),
        createService().makePublicCopy(open, 'upkeep'),
      ])
      expect(new Set(made).size).toBe(1)
      expect(puts).toBe(1)
      expect(await publicKeys()).toEqual([made[0]!])
    })

    /** Two hours, for everything that the database measures with its clock. */
    const letTimePass = async () => {
      await database.sql`
        UPDATE media_objects
        SET sweep_due_at = sweep_due_at - interval '2 hours', links_until = links_until - interval '2 hours',
          transient_due_at = transient_due_at - interval '2 hours',
          transient_keys = (SELECT coalesce(jsonb_object_agg(key, value::numeric - 7200), '{}') FROM jsonb_each(transient_keys))`
    }

    // Without `reservePublicCopy` in public-copies/make.ts nobody would ever look for these bytes.
    test('the rest of a copy whose process died is swept', async () => {
      const { media, upkeep } = createService({ cdnBaseUrl: undefined })
      const open = await media.uploads.direct(owner, file('public'))
      // The search for bytes without a row comes by once, and has been here.
      ahead = 7_200_000
      await upkeep.run()
      ahead = 0
      const stored = Promise.withResolvers<void>()
      const put: Storage['put'] = async (...arguments_) => {
        await store.storage.put(...arguments_)
        stored.resolve()
        await new Promise<never>(() => {})
      }
      void createService({ cdnBaseUrl: undefined, storage: { ...store.storage, put } }).makePublicCopy(open, 'upkeep')
      await stored.promise
      expect((await keys()).length).toBe(2)
      expect((await upkeep.run()).orphans).toBe(0)
      await letTimePass()
      expect((await upkeep.run()).orphans).toBe(1)
      expect(await keys()).toEqual([open.key])
    })

    test('a copy stays when its object is swept, and goes with the visibility though its removal fails', async () => {
      const { media, makePublicCopy, upkeep } = createService()
      const open = await media.uploads.direct(owner, file('public'))
      const copy = await makePublicCopy(open, 'upkeep')
      await letTimePass()
      expect((await upkeep.run()).orphans).toBe(0)
      expect(await keys()).toEqual([open.key, copy])
      const failing: Storage = { ...store.storage, remove: async () => Promise.reject(new Error('the store is down')) }
      await createService({ storage: failing }).media.objects.update(open.id, owner, { visibility: 'private' })
      expect(await keys()).toEqual([open.key, copy])
      expect((await upkeep.run()).orphans).toBe(1)
      expect(await keys()).toEqual([open.key])
    })

    const failing = (kind: DecodeFailure['kind'], code: DecodeFailure['code'], version = 'one') => {
      let tries = 0
      const perform = async () => {
        tries += 1
        throw new DecodeFailure(kind, code, 'A failure of the test.')
      }
      return { decoders: createInProcessDecoders({ version, perform }), tries: () => tries }
    }
    const backoffOver = () => database.sql`
      UPDATE media_objects SET decode_outcomes = jsonb_set(decode_outcomes, '{clean,until}', '0')`

    test('a copy that is too dear is tried three times, ever later, and then not until the decoders change', async () => {
      const dear = failing('too-dear', 'image_too_large')
      const { media, makePublicCopy } = createService(dear)
      const { id } = await media.uploads.direct(owner, file('public'))
      const codeOf = async () =>
        makePublicCopy(await media.objects.get(id, null), 'upkeep').catch((error) => error.code)
      const codes = []
      for (let i = 0; i < 4; i += 1) {
        // The second request of each round comes before the next try is due.
        codes.push(await codeOf(), await codeOf())
        await backoffOver()
      }
      const late = ['overloaded', 'overloaded']
      expect(codes).toEqual([...late, ...late, ...Array(4).fill('image_too_large')])
      expect(dear.tries()).toBe(3)
      // Its owner can't change that, new decoders can.
      await media.objects.update(id, owner, { visibility: 'public' })
      expect(await codeOf()).toBe('image_too_large')
      const upgraded = createService({ decoders: createInProcessDecoders({ version: 'two' }) })
      expect(await upgraded.makePublicCopy(await media.objects.get(id, null), 'upkeep')).toContain('/clean.')
    })

    test('a copy that was not made through nobody’s fault leaves no trace and is made the next time', async () => {
      const busy = failing('not-done', 'overloaded')
      const { media, makePublicCopy, upkeep } = createService(busy)
      const { id } = await media.uploads.direct(owner, file('public'))
      const traces = () => database.sql`SELECT decode_outcomes, decode_version, publish_tries FROM media_objects`
      for (let i = 0; i < 7; i += 1) {
        expect(await makePublicCopy(await media.objects.get(id, null), 'upkeep').catch((error) => error.code)).toBe(
          'overloaded',
        )
        expect(await upkeep.run()).toMatchObject({ published: 0, failed: [] })
        await database.sql`UPDATE media_objects SET publish_due_at = now()`
      }
      expect([...(await traces())]).toEqual([{ decode_outcomes: {}, decode_version: null, publish_tries: 0 }])
      expect(await createService().upkeep.run()).toMatchObject({ published: 1, failed: [] })
    })

    test('a picture that earlier decoders refused is tried again, within a day of the upgrade', async () => {
      const bad = failing('bad-bytes', 'image_unreadable')
      const { media, upkeep } = createService(bad)
      const { id } = await media.uploads.direct(owner, file('public'))
      const due = async () => {
        const [row] = await database.sql`
          SELECT publish_due_at AS at, publish_due_at BETWEEN now() AND now() + interval '1 day' AS "withinADay",
            placeholder_due_at BETWEEN now() AND now() + interval '1 day' AS "alsoItsPlaceholder" FROM media_objects`
        return row
      }
      for (let i = 0; i < 3; i += 1) {
        expect(await upkeep.run()).toMatchObject({ published: 0, failed: [] })
        await database.sql`UPDATE media_objects SET publish_due_at = publish_due_at - interval '2 days'`
      }
      expect([bad.tries(), (await due())?.at]).toEqual([1, null])
      const upgraded = createService({ decoders: createInProcessDecoders({ version: 'two' }) })
      expect(await upgraded.upkeep.run()).toMatchObject({ published: 0, failed: [] })
      expect(await due()).toMatchObject({ withinADay: true, alsoItsPlaceholder: true })
      await database.sql`UPDATE media_objects SET publish_due_at = now()`
      expect(await upgraded.upkeep.run()).toMatchObject({ published: 1, failed: [] })
      expect((await media.objects.get(id, null)).publicKey).toContain('/clean.')
    })

    test('a copy is known to the search for bytes without a row', async () => {
      const { media, makePublicCopy, upkeep } = createService()
      const open = await media.uploads.direct(owner, file('public'))
      const copy = await makePublicCopy(open, 'upkeep')
      ahead = 7_200_000
      expect((await upkeep.run()).orphans).toBe(0)
      expect(await keys()).toEqual([open.key, copy])
      await media.objects.remove(open.id, owner)
      await database.sql`UPDATE media_objects SET status_changed_at = now() - interval '1 hour'`
      expect(await upkeep.run()).toMatchObject({ retired: 1, failed: [] })
      expect(await keys()).toEqual([])
    })

    test('a copy that is lost is found by reconcile, and made anew', async () => {
      const { media, makePublicCopy, repository } = createService()
      const open = await media.uploads.direct(owner, file('public'))
      const deps = { repository, storage: store.storage }
      const found = async () => Array.fromAsync(reconcile(deps))
      const copy = await makePublicCopy(open, 'upkeep')
      expect(await found()).toEqual([])
      await store.storage.remove([copy])
      const findings = await found()
      expect(findings).toEqual([{ kind: 'copy_without_bytes', id: open.id, key: copy }])
      for (const finding of findings) await repair(finding, deps)
      const { publicKey } = await media.objects.get(open.id, null)
      expect(publicKey).toBeNull()
      expect(await store.storage.head(await makePublicCopy(open, 'upkeep'))).not.toBeNull()
      expect(await found()).toEqual([])
    })

    test('a link shows its owner the original and everyone else the copy', async () => {
      const { media, makePublicCopy } = createService({ cdnBaseUrl: undefined })
      const open = await media.uploads.direct(owner, file('public'))
      expect((await media.objects.sign(foreign(open))).url).toBe(`/media/${open.id}/content`)
      expect((await media.objects.sign(owned(open))).url).toContain(open.key)
      const copy = await makePublicCopy(open, 'upkeep')
      const row = await media.objects.get(open.id, null)
      expect((await media.objects.sign(row)).url).toContain(copy)
      expect((await media.objects.sign(await media.objects.get(open.id, owner))).url).toContain(open.key)
    })

    // Without `LOST` in uploads/complete.ts it would be told that no bytes have arrived.
    test('a complete that finds the bytes moved by another gets the same answer', async () => {
      const first = createService()
      const link = await first.media.uploads.presign(owner, declaration('public'))
      await send(link)
      const winner = Promise.withResolvers<unknown>()
      const peek: Storage['peek'] = async (...args) => winner.promise.then(() => store.storage.peek(...args))
      const second = createService({ storage: { ...store.storage, peek } }).media.uploads.complete(link.id, owner)
      const row = await first.media.uploads.complete(link.id, owner)
      winner.resolve(undefined)
      expect((await second).key).toBe(row.key)
      expect((await announced(1)).length).toBe(1)
    })

    // Without `!storage.enforces.once` in uploads/complete.ts the second PUT would change bytes that are active.
    test('where a link works more than once, the bytes are moved away from it', async () => {
      const storage = { ...store.storage, enforces: { once: false, checksum: true, whole: true } }
      const { media } = createService({ cdnBaseUrl: undefined, storage })
      const link = await media.uploads.presign(owner, declaration('private'))
      await send(link)
      const row = await media.uploads.complete(link.id, owner)
      expect(row.key).not.toBe(link.key)
      expect(await keys()).toEqual([row.key])
      expect((await send(link)) === 200 && (await keys()).length).toBe(2)
      expect(Buffer.from(await storage.read(row.key, { start: 0, length: 1e7 })).equals(rocket)).toBe(true)
    })

    test('where an upload that broke off is kept, its size is declared before and compared afterwards', async () => {
      const storage = { ...store.storage, enforces: { once: true, checksum: true, whole: false } }
      const { media } = createService({ storage })
      const { size: _, ...unsized } = declaration('private')
      const asked = media.uploads.presign(owner, { ...unsized, size: undefined })
      expect(await asked.catch((error) => error.arguments)).toEqual([
        { argument: 'size', message: 'is required, because this store keeps uploads that broke off' },
      ])
      const sha256 = '0'.repeat(64)
      expect((await media.uploads.presign(owner, { ...unsized, size: undefined, sha256 })).id).toBeString()
      const link = await media.uploads.presign(owner, { ...unsized, size: rocket.length + 1 })
      await storage.put(link.key, rocket, { contentType: 'image/jpeg' })
      const completed = media.uploads.complete(link.id, owner)
      expect(await completed.catch((error) => error.code)).toBe('size_mismatch')
    })

    test('where a checksum would not be checked, none is promised', async () => {
      const storage = { ...store.storage, enforces: { once: true, checksum: false, whole: true } }
      const { media } = createService({ storage })
      const asked = media.uploads.presign(owner, { ...declaration('private'), sha256: '0'.repeat(64) })
      expect(await asked.catch((error) => error.code)).toBe('checksum_unenforceable')
    })
  })
}
