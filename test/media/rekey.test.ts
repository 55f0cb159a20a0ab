/** Bytes that move to another key while or before they become an object. */
import { describe, expect, test } from 'bun:test'
import type { Storage } from '../../src/storage/storage.ts'
import { declaration, domainOnStore, file, owner, rocket } from '../support/media/store-domain.ts'
import { stores } from '../support/services/stores.ts'

for (const { name, present, open } of stores) {
  describe.skipIf(!present)(`re-keying on the ${name} store`, () => {
    const on = domainOnStore(open)

    const send = async ({ uploadUrl, headers }: { uploadUrl: string; headers: Record<string, string> }) =>
      (await fetch(new URL(uploadUrl, on.store.origin), { method: 'PUT', headers, body: rocket })).status

    test('originals that an earlier version gave to the CDN come back', async () => {
      const { media, upkeep } = on.createService()
      const { id, key } = await media.uploads.direct(owner, file('public'))
      const exposed = key.replace('media/', 'public/')
      await on.store.storage.put(exposed, rocket, { contentType: 'image/jpeg' })
      await on.store.storage.remove([key])
      await on.sql`UPDATE media_objects SET storage_key = ${exposed}`
      expect(await upkeep.run()).toMatchObject({ published: 1, failed: [] })
      const row = await media.objects.get(id, owner)
      expect(row.key).toStartWith(`media/${id}/`)
      expect(await on.keys()).toEqual([row.key, row.publicKey ?? ''])
      expect(Buffer.from(await on.bytesAt(row.key)).equals(rocket)).toBe(true)
    })

    // Without `LOST` in uploads/complete.ts it would be told that no bytes have arrived.
    test('a complete that finds the bytes moved by another gets the same answer', async () => {
      const first = on.createService()
      const link = await first.media.uploads.presign(owner, declaration('public'))
      await send(link)
      const winner = Promise.withResolvers<unknown>()
      const peek: Storage['peek'] = async (...args) => winner.promise.then(() => on.store.storage.peek(...args))
      const second = on.createService({ storage: { ...on.store.storage, peek } }).media.uploads.complete(link.id, owner)
      const row = await first.media.uploads.complete(link.id, owner)
      winner.resolve(undefined)
      expect((await second).key).toBe(row.key)
      expect((await on.announced(1)).length).toBe(1)
    })

    // Without `!storage.enforces.once` in uploads/complete.ts the second PUT would change bytes that are active.
    test('where a link works more than once, the bytes are moved away from it', async () => {
      const storage = { ...on.store.storage, enforces: { once: false, checksum: true, whole: true } }
      const { media } = on.createService({ cdnBaseUrl: undefined, storage })
      const link = await media.uploads.presign(owner, declaration('private'))
      await send(link)
      const row = await media.uploads.complete(link.id, owner)
      expect(row.key).not.toBe(link.key)
      expect(await on.keys()).toEqual([row.key])
      expect((await send(link)) === 200 && (await on.keys()).length).toBe(2)
      expect(Buffer.from(await storage.read(row.key, { start: 0, length: 1e7 })).equals(rocket)).toBe(true)
    })

    test('where an upload that broke off is kept, its size is declared before and compared afterwards', async () => {
      const storage = { ...on.store.storage, enforces: { once: true, checksum: true, whole: false } }
      const { media } = on.createService({ storage })
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
      const storage = { ...on.store.storage, enforces: { once: true, checksum: false, whole: true } }
      const { media } = on.createService({ storage })
      const asked = media.uploads.presign(owner, { ...declaration('private'), sha256: '0'.repeat(64) })
      expect(await asked.catch((error) => error.code)).toBe('checksum_unenforceable')
    })
  })
}
