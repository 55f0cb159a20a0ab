import { beforeEach, describe, expect, test } from 'bun:test'
import type { Media } from '../../src/media/media.ts'
import { NO_QUOTAS } from '../../src/media/object/quota.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { domainOn } from '../support/media/domain.ts'
import { newCaller } from '../support/media/objects.ts'
import { openRowsAndBytes } from '../support/media/rows-and-bytes.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openPGlite } from '../support/services/pglite.ts'
import { openDisk } from '../support/services/stores.ts'

const rocket = await readCorpus('accept/rocket.jpg')
const allowedTypes = new Set(['image/jpeg'])
const limits = {
  ...{ maxUploadBytes: 1e7, maxObjectBytes: 1e7, renditionSizes: [160], signedUrlSeconds: 900, uploadUrlSeconds: 900 },
  ...{ allowedTypes, quotas: NO_QUOTAS },
}

describe('a presign with the key of an earlier one, on a store whose links work more than once', () => {
  const on = openRowsAndBytes(openPGlite, openDisk)

  let signed: string[]
  let media: Media
  /** What happens between the look at the row and the statement that lets its link live. */
  let meanwhile: () => Promise<unknown>
  const caller = newCaller()
  const declared = {
    ...{ filename: 'a.jpg', fileType: 'image/jpeg', size: rocket.length, sha256: undefined },
    ...{ visibility: 'private' as const, idempotencyKey: 'key' },
  }
  beforeEach(async () => {
    await on.database.sql`DELETE FROM media_objects`
    signed = []
    meanwhile = async () => {}
    const storage: Storage = {
      ...on.store.storage,
      enforces: { once: false, checksum: true, whole: true },
      signPut(key, options) {
        signed.push(key)
        return on.store.storage.signPut(key, options)
      },
    }
    const made = createRepository({ sql: on.database.sql, pendingSeconds: 1000, retentionSeconds: 1000 })
    const repository: Repository = {
      ...made,
      uploads: {
        ...made.uploads,
        async findAttempt(...args) {
          const found = await made.uploads.findAttempt(...args)
          await meanwhile()
          return found
        },
      },
    }
    media = domainOn({ repository, storage }, limits).media
  })

  const uploaded = async () => {
    const link = await media.uploads.presign(caller, declared)
    const url = new URL(link.uploadUrl, on.store.origin)
    expect((await fetch(url, { method: 'PUT', headers: link.headers, body: rocket })).ok).toBe(true)
    return link
  }

  test('signs nothing once the object is active under a key of its own', async () => {
    const link = await uploaded()
    const { key } = await media.uploads.complete(link.id, caller)
    expect(key).not.toBe(link.key)
    await expect(media.uploads.presign(caller, declared)).rejects.toMatchObject({ code: 'state_conflict', id: link.id })
    expect(signed).toEqual([link.key])
  })

  test('signs nothing where the object becomes active, or deleted, between the look and the link', async () => {
    const link = await uploaded()
    meanwhile = async () => {
      meanwhile = async () => {}
      await media.uploads.complete(link.id, caller)
    }
    await expect(media.uploads.presign(caller, declared)).rejects.toMatchObject({ code: 'state_conflict', id: link.id })
    await media.objects.remove(link.id, caller)
    await expect(media.uploads.presign(caller, declared)).rejects.toMatchObject({ code: 'state_conflict', id: link.id })
    expect(signed).toEqual([link.key])
  })

  test('begins anew where the upload was given up between the look and the link', async () => {
    const link = await uploaded()
    meanwhile = async () => {
      meanwhile = async () => {}
      await media.uploads.abort(link.id, caller)
    }
    const other = await media.uploads.presign(caller, declared)
    expect(other.id).not.toBe(link.id)
    expect(signed).toEqual([link.key, other.key])
  })

  test('signs the same key while it is pending, and lets the row outlive the link', async () => {
    const link = await uploaded()
    const { links_until: before } = await linksUntil(link.id)
    expect(await media.uploads.presign(caller, declared)).toMatchObject({ id: link.id, key: link.key })
    expect((await linksUntil(link.id)).links_until.getTime()).toBeGreaterThan(before.getTime())
  })

  async function linksUntil(id: string): Promise<{ links_until: Date }> {
    const [row] = await on.database.sql<{ links_until: Date }[]>`SELECT links_until FROM media_objects WHERE id = ${id}`
    if (row === undefined) throw new Error(`no row of ${id}`)
    return row
  }
})
