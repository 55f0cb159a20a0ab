import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { v7 as uuidv7 } from 'uuid'
import type { Caller } from '../../src/auth/caller.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { reconcile, repair } from '../../src/media/upkeep/reconcile.ts'
import { createDiskStorage } from '../../src/storage/disk/storage.ts'
import { prepareBucket } from '../../src/storage/s3/bucket.ts'
import { createS3Storage } from '../../src/storage/s3/storage.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { domainOn } from '../support/media/domain.ts'
import { arrived, callerOf, newObject } from '../support/media/objects.ts'
import { openRowsAndBytes } from '../support/media/rows-and-bytes.ts'
import { removeBucket, s3Client } from '../support/services/buckets.ts'
import type { OpenDatabase } from '../support/services/databases.ts'
import { createFolder } from '../support/services/folder.ts'
import { openPGlite } from '../support/services/pglite.ts'
import { s3Config, stores } from '../support/services/stores.ts'

// Each of these starts and ends dozens of calls to the store.
setDefaultTimeout(60_000)

const PENDING_SECONDS = 1000
const JPEG = { contentType: 'image/jpeg' }
const bytes = new Uint8Array(12)
const person: Caller = { userId: crypto.randomUUID(), role: 'user' }

/** Keys that operators and other programs put beside the service's own, some of them looking much like those. */
const foreign = [
  'media/-first',
  'media/.well-known/acme-challenge/token',
  'media/00-import.csv',
  `media/${crypto.randomUUID()}/original.jpg`,
  `media/${uuidv7({ msecs: 0 })}`,
  `media/${uuidv7({ msecs: 0 }).toUpperCase()}/original.jpg`,
  'media/spaces and ünicode/ä b+c%2F.csv',
  'media/zz/last.txt',
  `other/${uuidv7({ msecs: 0 })}/original.jpg`,
  'public/001.png',
  'public/index.html',
]

for (const { name, present, open } of stores) {
  describe.skipIf(!present)(`upkeep on the ${name} store`, () => {
    const on = openRowsAndBytes(openPGlite, open)
    beforeEach(async () => {
      await on.database.sql`DELETE FROM media_objects`
      await on.database.sql`UPDATE media_upkeep SET position = '', taken_until = '-infinity'`
      for (const home of ['media/', 'public/']) await on.store.storage.removePrefix(home)
    })

    function createService(storage: Storage = on.store.storage) {
      const repository = createRepository({
        sql: on.database.sql,
        pendingSeconds: PENDING_SECONDS,
        retentionSeconds: PENDING_SECONDS,
      })
      const settings = { cdnBaseUrl: 'https://cdn.example.com', pendingSeconds: PENDING_SECONDS }
      const { upkeep } = domainOn({ repository, storage }, settings)
      return { repository, upkeep }
    }

    const keys = async () => (await on.store.storage.list({ prefix: '', limit: 1000 })).map(({ key }) => key)
    /** Some bytes of an id that never had a row. */
    const orphan = async () => {
      const key = `media/${uuidv7({ msecs: Date.now() - 2 * PENDING_SECONDS * 1000 })}/original.jpg`
      await on.store.storage.put(key, bytes, JPEG)
      return key
    }
    const active = async () => {
      const { repository } = createService()
      const object = newObject({ userId: person.userId })
      await on.store.storage.put(object.key, bytes, JPEG)
      await repository.uploads.insert(object)
      await repository.uploads.activate(object.id, arrived)
      return object
    }
    const purging = async () => {
      const object = await active()
      await createService().repository.purging.giveUp(object.id, object.key)
      await on.database
        .sql`UPDATE media_objects SET links_until = now() - interval '1 second', outbox = '[]', outbox_due_at = NULL`
      return object
    }

    test('a row whose bytes cannot be removed keeps no other row, and is named in the report', async () => {
      const stuck: string[] = []
      for (let i = 0; i < 25; i += 1) stuck.push((await purging()).id)
      const others = [await purging(), await purging()]
      const removePrefix: Storage['removePrefix'] = async (prefix, options) => {
        if (stuck.some((id) => prefix.includes(id))) throw new Error('a legal hold')
        return on.store.storage.removePrefix(prefix, options)
      }
      const { upkeep } = createService({ ...on.store.storage, removePrefix })
      expect(await upkeep.run()).toMatchObject({ forgotten: 2, failed: ['purge'] })
      expect((await keys()).some((key) => others.some(({ id }) => key.includes(id)))).toBe(false)
      await on.database.sql`UPDATE media_objects SET upkeep_due_at = now()`
      expect(await createService().upkeep.run()).toMatchObject({ forgotten: 25, failed: [] })
    })

    test('an orphan that cannot be removed is passed by the search, and tried again later', async () => {
      const stuck = await orphan()
      const others = [await orphan(), await orphan()]
      const remove: Storage['remove'] = async (removed, options) => {
        const free = removed.filter((key) => key !== stuck)
        if (free.length > 0) await on.store.storage.remove(free, options)
        if (free.length < removed.length) throw new Error('a legal hold')
      }
      const { upkeep } = createService({ ...on.store.storage, remove })
      expect((await upkeep.run()).failed).toEqual(['removeOrphans', 'recheckOrphans'])
      expect(await keys()).toEqual([stuck])
      expect(others).not.toContain(stuck)
      const later = await orphan()
      expect((await upkeep.run()).failed).toEqual([])
      expect(await keys()).toEqual([stuck])
      expect(later).not.toBe(stuck)
      await on.database.sql`UPDATE media_upkeep SET taken_until = now()`
      expect(await createService().upkeep.run()).toMatchObject({ orphans: 1, failed: [] })
      expect(await keys()).toEqual([])
    })

    test('an object whose prefix cannot be listed keeps no other from being swept', async () => {
      const [stuck, other] = [await active(), await active()]
      for (const { id } of [stuck, other]) await on.store.storage.put(`media/${id}/0123456789ab/x.jpg`, bytes, JPEG)
      await on.database.sql`UPDATE media_objects SET links_until = now() - interval '1 second', sweep_due_at = now()`
      const list: Storage['list'] = async (options) => {
        if (options.prefix.includes(stuck.id)) throw new Error('too slow')
        return on.store.storage.list(options)
      }
      const { upkeep } = createService({ ...on.store.storage, list })
      expect(await upkeep.run()).toMatchObject({ orphans: 1, failed: ['sweep'] })
      expect(await keys()).toEqual([`media/${stuck.id}/0123456789ab/x.jpg`, stuck.key, other.key].toSorted())
    })

    test('the second search goes on where it was, at most ten pages a minute', async () => {
      let lists = 0
      const list: Storage['list'] = async ({ startAfter = '', ...options }) => {
        if (options.prefix !== 'media/') return on.store.storage.list({ startAfter, ...options })
        lists += 1
        const first = Number(startAfter.slice('media/x'.length) || '0')
        return Array.from({ length: options.limit }, (_, index) => ({
          key: `media/x${String(first + index + 1).padStart(9, '0')}`,
          size: 1,
          lastModified: new Date(),
        }))
      }
      const { upkeep } = createService({ ...on.store.storage, list })
      await upkeep.run()
      // One page is the first search's, which has nothing to look for that far.
      expect(lists).toBe(11)
      await upkeep.run()
      expect(lists).toBe(12)
      const [row] = await on.database.sql<{ position: string; wait: number }[]>`
        SELECT position, extract(epoch FROM taken_until - now())::float8 AS wait
        FROM media_upkeep WHERE job = 'recheck of media/'`
      expect(row?.position).toBe('media/x000010000')
      expect(row?.wait).toBeGreaterThan(50)
      expect(row?.wait).toBeLessThanOrEqual(60)
    })

    test('reconcile mends what is beside a living object, and gives up no row whose bytes were moved meanwhile', async () => {
      const { repository } = createService()
      const deps = { repository, storage: on.store.storage }
      const object = await active()
      await on.store.storage.remove([object.key])
      const [lost] = await Array.fromAsync(reconcile(deps))
      expect(lost).toEqual({ kind: 'row_without_bytes', id: object.id, key: object.key })
      const moved = object.key.replace('original', '0123456789ab/original')
      await on.store.storage.put(moved, bytes, JPEG)
      await on.database.sql`UPDATE media_objects SET storage_key = ${moved}`
      if (lost) await repair(lost, deps)
      expect((await repository.objects.findOwned(object.id, callerOf(object)))?.status).toBe('active')

      const stray = object.key.replace('original', 'ba9876543210/original')
      await on.store.storage.put(stray, bytes, JPEG)
      const later = createRepository({ sql: on.database.sql, pendingSeconds: 0, retentionSeconds: 0 })
      // Somebody may be about to make it the object's own.
      expect(await Array.fromAsync(reconcile({ ...deps, repository: later }))).toEqual([])
      await on.database.sql`UPDATE media_objects SET links_until = now() - interval '1 second'`
      const [found] = await Array.fromAsync(reconcile({ ...deps, repository: later }))
      expect(found).toEqual({ kind: 'stray_bytes', id: object.id, key: stray, size: 12 })
      if (found) await repair(found, deps)
      expect(await keys()).toEqual([moved])
    })
  })
}

describe('keys that are not the service’s own', () => {
  let database: OpenDatabase
  beforeAll(async () => {
    database = await openPGlite({ migrated: true })
  }, 60_000)
  afterAll(() => database.close(), 30_000)

  const runOn = async (storage: Storage) => {
    await database.sql`UPDATE media_upkeep SET position = '', taken_until = '-infinity'`
    const repository = createRepository({ sql: database.sql, pendingSeconds: 10, retentionSeconds: 10 })
    const { upkeep } = domainOn({ repository, storage }, { pendingSeconds: 10 })
    const report = await upkeep.run()
    const findings = await Array.fromAsync(reconcile({ repository, storage }))
    for (const finding of findings) await repair(finding, { repository, storage })
    return { report, findings }
  }
  const own = () => `media/${uuidv7({ msecs: Date.now() - 20_000 })}/original.jpg`

  test('are touched neither by upkeep nor by reconcile on disk, and stop neither', async () => {
    const folder = await createFolder()
    try {
      const storage = await createDiskStorage({
        root: folder.path,
        linkSecrets: ['x'.repeat(32)],
        maxBytes: 1,
        now: Date.now,
      })
      const objects = join(folder.path, 'objects')
      for (const key of foreign) {
        await mkdir(dirname(join(objects, key)), { recursive: true })
        await writeFile(join(objects, key), 'somebody else’s')
      }
      await symlink('nowhere', join(objects, 'media', '00-broken-link'))
      await symlink('00-loop', join(objects, 'media', '00-loop'))
      await storage.put(own(), bytes, JPEG)
      const { report, findings } = await runOn(storage)
      expect(report).toMatchObject({ orphans: 1, failed: [] })
      const left = (await storage.list({ prefix: '', limit: 100 })).map(({ key }) => key)
      expect(left.toSorted()).toEqual(foreign.toSorted())
      expect(findings.map((finding) => finding.kind)).toEqual(foreign.map(() => 'foreign'))
    } finally {
      await folder.remove()
    }
  })

  test.skipIf(!stores.some((store) => store.name === 's3' && store.present))('nor on S3', async () => {
    const config = await s3Config()
    const storage = createS3Storage(config, await prepareBucket(config))
    const client = await s3Client()
    try {
      const odd = [...foreign, 'media/', 'media/a&b<c>']
      for (const Key of odd) await client.send(new PutObjectCommand({ Bucket: config.bucket, Key, Body: 'x' }))
      await storage.put(own(), bytes, JPEG)
      const { report, findings } = await runOn(storage)
      expect(report).toMatchObject({ orphans: 1, failed: [] })
      expect(findings.map((finding) => finding.kind)).toEqual(odd.map(() => 'foreign'))
      expect((await storage.list({ prefix: '', limit: 100 })).length).toBe(odd.length)
    } finally {
      client.destroy()
      storage.close()
      await removeBucket(config.bucket)
    }
  })
})
