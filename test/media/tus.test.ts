import { describe, expect, test } from 'bun:test'
import type { NewObject } from '../../src/media/object/new-object.ts'
import { prefixOf } from '../../src/media/object/object.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { reconcile } from '../../src/media/upkeep/reconcile.ts'
import { domainOn } from '../support/media/domain.ts'
import { arrived, callerOf, newCaller, newObject, service } from '../support/media/objects.ts'
import { openRowsAndBytes } from '../support/media/rows-and-bytes.ts'
import { openPGlite } from '../support/services/pglite.ts'
import { stores } from '../support/services/stores.ts'

const HOUR = 3600_000
const settings = { pendingSeconds: 100, retentionSeconds: 1000 }
const JPEG = { contentType: 'image/jpeg' }

for (const { name, present, open } of stores) {
  describe.skipIf(!present)(`a tus upload with the ${name} store`, () => {
    const on = openRowsAndBytes(openPGlite, open)

    const repositoryOf = () => createRepository({ sql: on.database.sql, ...settings })
    const upkeepAt = (ahead: number) => {
      const ports = { repository: repositoryOf(), storage: on.store.storage, now: () => Date.now() + ahead }
      return domainOn(ports, settings).upkeep
    }
    const keysOf = async ({ id }: NewObject) =>
      (await on.store.storage.list({ prefix: prefixOf(id), limit: 10 })).map(({ key }) => key)
    /** An upload of which a piece has come, whose writer died. */
    const begun = async () => {
      const upload = newObject({ tusMetadata: 'filename YQ==', sizeBytes: null })
      await repositoryOf().uploads.insert(upload)
      await repositoryOf().tusUploads.takeLease(upload.key, crypto.randomUUID(), { ask: false })
      await on.store.storage.put(`${upload.key}.part3`, new Uint8Array(5), JPEG)
      return upload
    }
    const pass = async (seconds: number) => {
      await on.database.sql`
        UPDATE media_objects SET links_until = links_until - ${seconds} * interval '1 second',
          sweep_due_at = sweep_due_at - ${seconds} * interval '1 second'`
    }

    test('has pieces that upkeep and reconcile know as long as it is under way', async () => {
      const upload = await begun()
      expect(await repositoryOf().keys.known([`${upload.key}.part3`, `${upload.key}.other`])).toEqual(
        new Set([`${upload.key}.part3`]),
      )
      // The search for bytes without a row comes by when they are old, and the row is not given up yet.
      expect(await upkeepAt(HOUR).run()).toMatchObject({ orphans: 0, failed: [] })
      const deps = {
        repository: repositoryOf(),
        storage: on.store.storage,
        now: () => Date.now() + HOUR,
        graceSeconds: 100,
      }
      const found = await Array.fromAsync(reconcile(deps))
      expect(found.filter((finding) => 'key' in finding && finding.key.startsWith(upload.key))).toEqual([])
      expect(await keysOf(upload)).toEqual([`${upload.key}.part3`])
      await repositoryOf().uploads.abandon(upload.id)
    })

    test('that became an object as its process died leaves no pieces behind', async () => {
      const upload = await begun()
      await on.store.storage.put(upload.key, new Uint8Array(12), JPEG)
      await repositoryOf().uploads.activate(upload.id, arrived)
      expect(await repositoryOf().keys.known([`${upload.key}.part3`])).toEqual(new Set())
      await pass(2 * 3600)
      expect(await upkeepAt(2 * HOUR).run()).toMatchObject({ failed: [] })
      expect(await keysOf(upload)).toEqual([upload.key])
    })

    test('that is given up is removed with its pieces, once more when its last writer must be done', async () => {
      const upload = await begun()
      await repositoryOf().uploads.abandon(upload.id)
      await upkeepAt(0).run()
      expect(await keysOf(upload)).toEqual([])
      await on.store.storage.put(`${upload.key}.part4`, new Uint8Array(5), JPEG)
      await pass(2 * 3600)
      await on.database.sql`UPDATE media_objects SET upkeep_due_at = now() WHERE status = 'purging'`
      await upkeepAt(0).run()
      expect(await keysOf(upload)).toEqual([])
      expect(await on.database.sql`SELECT 1 FROM media_objects WHERE id = ${upload.id}`).toHaveLength(0)
    })

    test('is there for its owner and a service, under way or complete, and for nobody else', async () => {
      const repository = repositoryOf()
      const upload = await begun()
      const seen = async () =>
        Promise.all(
          [callerOf(upload), service, newCaller()].map(
            async (caller) => (await repository.tusUploads.find(upload.id, caller))?.status,
          ),
        )
      expect(await seen()).toEqual(['pending', 'pending', undefined])
      await repository.uploads.activate(upload.id, arrived)
      expect(await seen()).toEqual(['active', 'active', undefined])
      await repository.objects.remove(upload.id, service)
      expect(await seen()).toEqual([undefined, undefined, undefined])
      const presigned = newObject()
      await repository.uploads.insert(presigned)
      expect(await repository.tusUploads.find(presigned.id, callerOf(presigned))).toBeNull()
    })

    test('has its length declared once', async () => {
      const repository = repositoryOf()
      const upload = await begun()
      expect(await repository.tusUploads.declareSize(upload.key, 7)).toBe(true)
      expect(await repository.tusUploads.declareSize(upload.key, 8)).toBe(false)
      expect(await repository.tusUploads.record(upload.key)).toMatchObject({ size: 7, contentType: 'image/jpeg' })
      await repository.uploads.abandon(upload.id)
      expect(await repository.tusUploads.record(upload.key)).toBeNull()
      expect(await repository.tusUploads.keepUploadId(upload.key, 'x')).toBe(false)
    })
  })
}
