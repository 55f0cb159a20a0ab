/** Copies of public objects: what non-owners get, where a CDN finds it, and when it goes. */
import { describe, expect, test } from 'bun:test'
import sharp from 'sharp'
import type { StoredObject } from '../../src/media/object/object.ts'
import { reconcile, repair } from '../../src/media/upkeep/reconcile.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { CDN, domainOnStore, file, ORIGIN, owner, rocket } from '../support/media/store-domain.ts'
import { stores } from '../support/services/stores.ts'

const owned = (row: StoredObject) => ({ ...row, own: true })
const foreign = (row: StoredObject) => ({ ...row, own: false })

for (const { name, present, open } of stores) {
  describe.skipIf(!present)(`a public copy on the ${name} store`, () => {
    const on = domainOnStore(open)

    /** Two hours, for everything that the database measures with its clock. */
    const letTimePass = async () => {
      await on.sql`
        UPDATE media_objects
        SET sweep_due_at = sweep_due_at - interval '2 hours', links_until = links_until - interval '2 hours',
          transient_due_at = transient_due_at - interval '2 hours',
          transient_keys = (SELECT coalesce(jsonb_object_agg(key, value::numeric - 7200), '{}') FROM jsonb_each(transient_keys))`
    }

    test('the original of a public picture stays, a copy without metadata comes to where the CDN finds it', async () => {
      const { media, upkeep, urlOf } = on.createService()
      const closed = await media.uploads.direct(owner, file('private'))
      const open = await media.uploads.direct(owner, file('public'))
      expect(urlOf(open)).toBe(`${ORIGIN}/media/${open.id}/content`)
      expect(await on.keys()).toEqual([closed.key, open.key])
      expect(await upkeep.run()).toMatchObject({ published: 1, failed: [] })
      const row = await media.objects.get(open.id, null)
      expect(row.publicKey).toMatch(new RegExp(`^public/${open.id}/[0-9a-f]{12}/clean\\.jpg$`))
      expect(urlOf(row)).toBe(`${CDN}/${row.publicKey}`)
      expect(await on.keys()).toEqual([closed.key, open.key, row.publicKey ?? ''])
      expect(Buffer.from(await on.bytesAt(open.key)).equals(rocket)).toBe(true)
      const { icc, exif, width } = await sharp(await on.bytesAt(row.publicKey ?? '')).metadata()
      expect({ icc, exif, width }).toEqual({ icc: undefined, exif: undefined, width: 640 })
      expect((await on.announced(3)).slice(1)).toEqual([
        ['photo:uploaded', `${ORIGIN}/media/${open.id}/content`],
        ['photo:updated', `${CDN}/${row.publicKey}`],
      ] as never)
      expect((await upkeep.run()).published).toBe(0)
    })

    test('a change of visibility gives the CDN a copy under a key of its own, or takes it away at once', async () => {
      const { media, makePublicCopy, urlOf } = on.createService()
      const first = await media.uploads.direct(owner, file('private'))
      const seen = new Set<string>()
      for (let i = 0; i < 2; i += 1) {
        const open = await media.objects.update(first.id, owner, { visibility: 'public' })
        const publicKey = await makePublicCopy(open, 'upkeep')
        seen.add(publicKey)
        expect(await on.publicKeys()).toEqual([publicKey])
        const closed = await media.objects.update(first.id, owner, { visibility: 'private' })
        expect(urlOf(closed)).toBe(`${ORIGIN}/media/${first.id}/content`)
        expect(await on.keys()).toEqual([first.key])
      }
      expect(seen.size).toBe(2)
      const urls = (await on.announced(7)).map(([, url]) => url)
      const [one, other] = [...seen].map((key) => `${CDN}/${key}`)
      const own = `${ORIGIN}/media/${first.id}/content`
      expect(urls).toEqual([own, own, one, own, own, other, own] as never)
    })

    test('a file that is no picture goes to the CDN as it is, and so do pictures where that is set', async () => {
      const { media, upkeep } = on.createService({ publicOriginals: true })
      const open = await media.uploads.direct(owner, file('public'))
      await on.sql`UPDATE media_objects SET mime_type = 'video/mp4'`
      await on.createService().upkeep.run()
      const film = await media.objects.get(open.id, null)
      expect(film.publicKey).toMatch(/^public\/.*\/original\.mp4$/)
      expect(Buffer.from(await on.bytesAt(film.publicKey ?? '')).equals(rocket)).toBe(true)
      const picture = await media.uploads.direct(owner, file('public'))
      await upkeep.run()
      const { publicKey } = await media.objects.get(picture.id, null)
      expect(Buffer.from(await on.bytesAt(publicKey ?? '')).equals(rocket)).toBe(true)
    })

    test('pictures that a CDN has as they came are taken from it where they must be clean', async () => {
      const before = on.createService({ publicOriginals: true })
      const { id, key } = await before.media.uploads.direct(owner, file('public'))
      await before.upkeep.run()
      const dirty = await before.media.objects.get(id, null)
      const { media, upkeep, urlOf } = on.createService()
      expect(urlOf(dirty)).toBe(`${ORIGIN}/media/${id}/content`)
      expect(await upkeep.run()).toMatchObject({ failed: [] })
      const { publicKey } = await media.objects.get(id, null)
      expect(publicKey).toContain('/clean.')
      expect(await on.keys()).toEqual([key, publicKey ?? ''])
    })

    test('two changes at once leave the object where its visibility says', async () => {
      const { media, makePublicCopy } = on.createService()
      const { id } = await media.uploads.direct(owner, file('public'))
      await makePublicCopy(await media.objects.get(id, null), 'upkeep')
      const open = await media.objects.get(id, null)
      const change = (visibility: 'private' | 'public') => media.objects.update(id, owner, { visibility })
      await Promise.allSettled([change('public'), change('private'), makePublicCopy(open, 'upkeep'), change('public')])
      const row = await media.objects.get(id, owner)
      expect(await on.publicKeys()).toEqual(row.publicKey === null ? [] : [row.publicKey])
    })

    test('an object that becomes private while its copy is made has none', async () => {
      const { media, makePublicCopy } = on.createService()
      const open = await media.uploads.direct(owner, file('public'))
      const making = makePublicCopy(open, 'upkeep').catch((error) => error.code)
      await media.objects.update(open.id, owner, { visibility: 'private' })
      expect(await making).toBe('not_found')
      expect(await on.keys()).toEqual([open.key])
    })

    test('two replicas that are asked at once give the same copy, and keep one; each makes one', async () => {
      let puts = 0
      const put: Storage['put'] = async (...arguments_) => {
        puts += 1
        return on.store.storage.put(...arguments_)
      }
      const { media, makePublicCopy } = on.createService({ storage: { ...on.store.storage, put } })
      const open = await media.uploads.direct(owner, file('public'))
      puts = 0
      const made = await Promise.all([
        makePublicCopy(open, 'upkeep'),
        makePublicCopy(open, 'upkeep'),
        on.createService().makePublicCopy(open, 'upkeep'),
      ])
      expect(new Set(made).size).toBe(1)
      expect(puts).toBe(1)
      expect(await on.publicKeys()).toEqual([made[0]!])
    })

    // Without `reservePublicCopy` in public-copies/make.ts nobody would ever look for these bytes.
    test('the rest of a copy whose process died is swept', async () => {
      const { media, upkeep } = on.createService({ cdnBaseUrl: undefined })
      const open = await media.uploads.direct(owner, file('public'))
      // The search for bytes without a row comes by once, and has been here.
      on.setAhead(7_200_000)
      await upkeep.run()
      on.setAhead(0)
      const stored = Promise.withResolvers<void>()
      const put: Storage['put'] = async (...arguments_) => {
        await on.store.storage.put(...arguments_)
        stored.resolve()
        await new Promise<never>(() => {})
      }
      void on
        .createService({ cdnBaseUrl: undefined, storage: { ...on.store.storage, put } })
        .makePublicCopy(open, 'upkeep')
      await stored.promise
      expect((await on.keys()).length).toBe(2)
      expect((await upkeep.run()).orphans).toBe(0)
      await letTimePass()
      expect((await upkeep.run()).orphans).toBe(1)
      expect(await on.keys()).toEqual([open.key])
    })

    test('a copy stays when its object is swept, and goes with the visibility though its removal fails', async () => {
      const { media, makePublicCopy, upkeep } = on.createService()
      const open = await media.uploads.direct(owner, file('public'))
      const copy = await makePublicCopy(open, 'upkeep')
      await letTimePass()
      expect((await upkeep.run()).orphans).toBe(0)
      expect(await on.keys()).toEqual([open.key, copy])
      const failing: Storage = {
        ...on.store.storage,
        remove: async () => Promise.reject(new Error('the store is down')),
      }
      await on.createService({ storage: failing }).media.objects.update(open.id, owner, { visibility: 'private' })
      expect(await on.keys()).toEqual([open.key, copy])
      expect((await upkeep.run()).orphans).toBe(1)
      expect(await on.keys()).toEqual([open.key])
    })

    test('a copy is known to the search for bytes without a row', async () => {
      const { media, makePublicCopy, upkeep } = on.createService()
      const open = await media.uploads.direct(owner, file('public'))
      const copy = await makePublicCopy(open, 'upkeep')
      on.setAhead(7_200_000)
      expect((await upkeep.run()).orphans).toBe(0)
      expect(await on.keys()).toEqual([open.key, copy])
      await media.objects.remove(open.id, owner)
      await on.sql`UPDATE media_objects SET status_changed_at = now() - interval '1 hour'`
      expect(await upkeep.run()).toMatchObject({ retired: 1, failed: [] })
      expect(await on.keys()).toEqual([])
    })

    test('a copy that is lost is found by reconcile, and made anew', async () => {
      const { media, makePublicCopy, repository } = on.createService()
      const open = await media.uploads.direct(owner, file('public'))
      const deps = { repository, storage: on.store.storage }
      const found = async () => Array.fromAsync(reconcile(deps))
      const copy = await makePublicCopy(open, 'upkeep')
      expect(await found()).toEqual([])
      await on.store.storage.remove([copy])
      const findings = await found()
      expect(findings).toEqual([{ kind: 'copy_without_bytes', id: open.id, key: copy }])
      for (const finding of findings) await repair(finding, deps)
      const { publicKey } = await media.objects.get(open.id, null)
      expect(publicKey).toBeNull()
      expect(await on.store.storage.head(await makePublicCopy(open, 'upkeep'))).not.toBeNull()
      expect(await found()).toEqual([])
    })

    test('a link shows its owner the original and everyone else the copy', async () => {
      const { media, makePublicCopy } = on.createService({ cdnBaseUrl: undefined })
      const open = await media.uploads.direct(owner, file('public'))
      expect((await media.objects.sign(foreign(open))).url).toBe(`/media/${open.id}/content`)
      expect((await media.objects.sign(owned(open))).url).toContain(open.key)
      const copy = await makePublicCopy(open, 'upkeep')
      const row = await media.objects.get(open.id, null)
      expect((await media.objects.sign(row)).url).toContain(copy)
      expect((await media.objects.sign(await media.objects.get(open.id, owner))).url).toContain(open.key)
    })
  })
}
