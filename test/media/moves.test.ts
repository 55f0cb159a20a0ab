import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Caller } from '../../src/auth/auth.ts'
import { migrate } from '../../src/db/migrate.ts'
import type { MediaEvent } from '../../src/events/events.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import { createImageProbe } from '../../src/media/image.ts'
import { createInspect } from '../../src/media/inspect.ts'
import { createMedia, type Deps } from '../../src/media/lifecycle.ts'
import { createUrlOf, NO_QUOTAS } from '../../src/media/object.ts'
import { createMakePlaceholder } from '../../src/media/placeholder.ts'
import { createRelay } from '../../src/media/relay.ts'
import { createRepository } from '../../src/media/repository.ts'
import { createUpkeep } from '../../src/media/upkeep.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { type OpenStore, stores } from '../contract/stores.ts'
import type { OpenDatabase } from '../databases.ts'
import { openPGlite } from '../pglite.ts'
import { createRecordingLog } from '../recording-log.ts'

const ORIGIN = 'https://api.example.com'
const CDN = 'https://cdn.example.com'
const owner: Caller = { userId: '11111111-2222-4333-8444-555555555555', role: 'user' }
const allowedTypes = new Set(['image/jpeg', 'image/png'])
const limits = {
  maxUploadBytes: 1e7,
  maxObjectBytes: 1e7,
  signedUrlSeconds: 900,
  uploadUrlSeconds: 900,
  allowedTypes,
  quotas: NO_QUOTAS,
}
const rocket = await readFile(join(import.meta.dir, '../corpus/accept/rocket.jpg'))
const probeImage = createImageProbe({ allowedTypes, maxPixels: 1e8 })
const inspect = createInspect({ allowedTypes, probeImage })
const makePlaceholder = createMakePlaceholder({ probeImage })

for (const { name, present, open } of stores) {
  describe.skipIf(!present)(`moves on the ${name} store`, () => {
    let database: OpenDatabase
    let store: OpenStore
    let events: MediaEvent[]
    let ahead = 0
    beforeAll(async () => {
      database = await openPGlite()
      await migrate(database.sql)
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

    function createService({ hasCdn = true, storage = store.storage }: { hasCdn?: boolean; storage?: Storage } = {}) {
      const { log } = createRecordingLog()
      const bus = createMemoryEventBus()
      bus.subscribe((event) => events.push(event))
      const repository = createRepository({ sql: database.sql, pendingSeconds: 1000, retentionSeconds: 1000 })
      const relay = createRelay({ repository, events: bus, log })
      const now = () => Date.now() + ahead
      const urlOf = createUrlOf(hasCdn ? CDN : undefined)
      const deps: Deps = { repository, storage, inspect, relay, log, now, urlOf, hasCdn, limits }
      const upkeep = createUpkeep({ repository, storage, relay, makePlaceholder, log, now, pendingSeconds: 1000 })
      return { media: createMedia(deps), upkeep, urlOf }
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

    test('a public upload lies where the CDN finds it, a private one does not', async () => {
      const { media, urlOf } = createService()
      const open = await media.upload(owner, file('public'), ORIGIN)
      const closed = await media.upload(owner, file('private'), ORIGIN)
      expect(urlOf(open, ORIGIN)).toBe(`${CDN}/public/${open.id}/original.jpg`)
      expect(urlOf(closed, ORIGIN)).toBe(`${ORIGIN}/media/${closed.id}/content`)
      expect(await keys()).toEqual([closed.key, open.key])
    })

    test('a presigned public upload lies there only when it has been looked at', async () => {
      const { media, urlOf } = createService()
      const link = await media.presign(owner, declaration('public'))
      expect(await send(link)).toBe(200)
      expect((await keys())[0]).toStartWith('media/')
      const row = await media.complete(link.id, owner, ORIGIN)
      expect(row.key).toStartWith(`public/${row.id}/`)
      expect(await keys()).toEqual([row.key])
      expect(await announced(1)).toEqual([['photo:uploaded', urlOf(row, ORIGIN)]])
    })

    test('a change of visibility moves the bytes to a key of their own, and says so', async () => {
      const { media, urlOf } = createService()
      const first = await media.upload(owner, file('private'), ORIGIN)
      const open = await media.update(first.id, owner, { visibility: 'public' }, ORIGIN)
      expect(await keys()).toEqual([open.key])
      const closed = await media.update(first.id, owner, { visibility: 'private' }, ORIGIN)
      const again = await media.update(first.id, owner, { visibility: 'public' }, ORIGIN)
      expect(await keys()).toEqual([again.key])
      expect(new Set([first, open, closed, again].map(({ key }) => key)).size).toBe(4)
      const rows = [first, open, closed, again]
      const channels = ['photo:uploaded', 'photo:updated', 'photo:updated', 'photo:updated']
      expect(await announced(4)).toEqual(rows.map((row, i) => [channels[i], urlOf(row, ORIGIN)]) as never)
    })

    test('two changes at once leave the object where its visibility says, and one set of bytes', async () => {
      const { media } = createService()
      const { id } = await media.upload(owner, file('private'), ORIGIN)
      const change = (visibility: 'private' | 'public') => media.update(id, owner, { visibility }, ORIGIN)
      const outcomes = await Promise.allSettled([change('public'), change('private'), change('public')])
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'state_conflict' })
      const row = await media.get(id, owner)
      expect(row.key.startsWith('public/')).toBe(row.visibility === 'public')
      expect(await keys()).toEqual([row.key])
    })

    // Without `repository.announceMove` in media/moves.ts nobody would ever look for these bytes.
    test('what a move leaves behind when its process dies is swept, the object stays', async () => {
      const dying: Storage = { ...store.storage, remove: () => new Promise<never>(() => {}) }
      const { id } = await createService().media.upload(owner, file('private'), ORIGIN)
      void createService({ storage: dying }).media.update(id, owner, { visibility: 'public' }, ORIGIN)
      const { media, upkeep } = createService()
      for (let i = 0; i < 100 && (await media.get(id, owner)).visibility === 'private'; i++) await Bun.sleep(20)
      expect((await keys()).length).toBe(2)
      await database.sql`UPDATE media_objects SET sweep_due_at = now() - interval '1 second'`
      expect((await upkeep.run()).orphans).toBe(0)
      ahead = 7_200_000
      await database.sql`UPDATE media_objects SET sweep_due_at = now() - interval '1 second'`
      expect((await upkeep.run()).orphans).toBe(1)
      expect(await keys()).toEqual([(await media.get(id, owner)).key])
    })

    // Without `LOST` in media/uploads.ts it would be told that no bytes have arrived.
    test('a complete that finds the bytes moved by another gets the same answer', async () => {
      const first = createService()
      const link = await first.media.presign(owner, declaration('public'))
      await send(link)
      const winner = Promise.withResolvers<unknown>()
      const head: Storage['head'] = async (key) => winner.promise.then(() => store.storage.head(key))
      const second = createService({ storage: { ...store.storage, head } }).media.complete(link.id, owner, ORIGIN)
      const row = await first.media.complete(link.id, owner, ORIGIN)
      winner.resolve(undefined)
      expect((await second).key).toBe(row.key)
      expect((await announced(1)).length).toBe(1)
    })

    // Without `!storage.enforces.once` in media/uploads.ts the second PUT would change bytes that are active.
    test('where a link works more than once, the bytes are moved away from it', async () => {
      const storage = { ...store.storage, enforces: { once: false, checksum: true } }
      const { media } = createService({ hasCdn: false, storage })
      const link = await media.presign(owner, declaration('private'))
      await send(link)
      const row = await media.complete(link.id, owner, ORIGIN)
      expect(row.key).not.toBe(link.key)
      expect(await keys()).toEqual([row.key])
      expect((await send(link)) === 200 && (await keys()).length).toBe(2)
      expect(Buffer.from(await storage.read(row.key, { start: 0, length: 1e7 })).equals(rocket)).toBe(true)
    })

    test('where a checksum would not be checked, none is promised', async () => {
      const storage = { ...store.storage, enforces: { once: true, checksum: false } }
      const { media } = createService({ storage })
      const asked = media.presign(owner, { ...declaration('private'), sha256: '0'.repeat(64) })
      expect(await asked.catch((error) => error.code)).toBe('checksum_unenforceable')
    })
  })
}
