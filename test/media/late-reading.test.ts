import { beforeEach, describe, expect, test } from 'bun:test'
import type { Media } from '../../src/media/media.ts'
import { NO_QUOTAS } from '../../src/media/object/quota.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { createImageProbe } from '../../src/pictures/image.ts'
import { createProbing } from '../../src/pictures/probing.ts'
import { Problem, type ProblemCode, problemCodes } from '../../src/problem.ts'
import { refusal } from '../support/http/refusal.ts'
import { domainOn } from '../support/media/domain.ts'
import { newCaller } from '../support/media/objects.ts'
import { openRowsAndBytes } from '../support/media/rows-and-bytes.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openPGlite } from '../support/services/pglite.ts'
import { openDisk } from '../support/services/stores.ts'

const rocket = await readCorpus('accept/rocket.jpg')
const allowedTypes = new Set(['image/jpeg'])
const libvips = createImageProbe({ allowedTypes, maxPixels: 1e8 })
const limits = {
  ...{ maxUploadBytes: 1e7, maxObjectBytes: 1e7, renditionSizes: [160], signedUrlSeconds: 900, uploadUrlSeconds: 900 },
  ...{ allowedTypes, quotas: NO_QUOTAS },
}

const probing = createProbing({ concurrency: 1, deadlineMs: 20 })
const hanging: typeof libvips = () => probing(() => new Promise(() => {}))

// What a picture is refused for: its bytes are of no use to anybody.
const BAD_BYTES = new Set<ProblemCode>([
  ...(['file_empty', 'file_too_large', 'media_type_unsupported', 'image_unreadable', 'image_too_large'] as const),
  ...(['type_mismatch', 'size_mismatch', 'checksum_mismatch'] as const),
])

describe('an upload whose picture is not read in time', () => {
  const on = openRowsAndBytes(openPGlite, openDisk)

  /** What becomes of the reading of a header. */
  let read: typeof libvips
  let media: Media
  const caller = newCaller()
  beforeEach(() => {
    read = libvips
    const { storage } = on.store
    const repository = createRepository({ sql: on.database.sql, pendingSeconds: 1000, retentionSeconds: 1000 })
    const probeImage: typeof libvips = (bytes, mimeType) => read(bytes, mimeType)
    media = domainOn({ repository, storage, probeImage }, limits).media
  })

  async function arrived() {
    const link = await media.uploads.presign(caller, {
      ...{ filename: 'a.jpg', fileType: 'image/jpeg', size: rocket.length, sha256: undefined },
      ...{ visibility: 'private' as const, idempotencyKey: undefined },
    })
    const url = new URL(link.uploadUrl, on.store.origin)
    expect((await fetch(url, { method: 'PUT', headers: link.headers, body: rocket })).ok).toBe(true)
    return link
  }
  const statusOf = async (id: string) => (await on.database.sql`SELECT status FROM media_objects WHERE id = ${id}`)[0]

  test('is 503, stays pending and keeps its bytes; the next complete takes it', async () => {
    const { id, key } = await arrived()
    read = hanging
    expect(await refusal(media.uploads.complete(id, caller))).toMatchObject({ code: 'overloaded', kind: 'outage' })
    expect(await statusOf(id)).toEqual({ status: 'pending' })
    expect(await on.store.storage.head(key)).toMatchObject({ size: rocket.length })
    read = libvips
    expect(await media.uploads.complete(id, caller)).toMatchObject({ id, status: 'active', sizeBytes: rocket.length })
  })

  test('is 503 where its bytes came along, and nothing is stored', async () => {
    read = hanging
    const upload = { name: 'a.jpg', bytes: rocket, visibility: 'private', idempotencyKey: undefined } as const
    const before = await on.database.sql`SELECT count(*) FROM media_objects`
    expect(await refusal(media.uploads.direct(caller, upload))).toMatchObject({ code: 'overloaded' })
    expect(await on.database.sql`SELECT count(*) FROM media_objects`).toEqual(before)
  })

  test.each(problemCodes.map((code) => [code]))('loses its bytes for what they are alone: %s', async (code) => {
    const { id, key } = await arrived()
    read = async () => {
      throw new Problem(code, 'For a test.')
    }
    expect(await refusal(media.uploads.complete(id, caller))).toMatchObject({ code })
    expect(await statusOf(id)).toEqual({ status: BAD_BYTES.has(code) ? 'purging' : 'pending' })
    expect((await on.store.storage.head(key)) === null).toBe(BAD_BYTES.has(code))
  })
})
