import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Readable } from 'node:stream'
import { Upload } from '@tus/server'
import { createTus, type Tus } from '../../../src/http/tus/server.ts'
import type { Media } from '../../../src/media/media.ts'
import { NO_QUOTAS } from '../../../src/media/object/quota.ts'
import { createRepository, type Repository } from '../../../src/media/table/repository.ts'
import { createLeaseLocker } from '../../../src/media/uploads/tus-locker.ts'
import { createDiskTusStores } from '../../../src/storage/disk/tus.ts'
import type { TusStores } from '../../../src/storage/tus.ts'
import { refusal } from '../../support/http/refusal.ts'
import { domainOn } from '../../support/media/domain.ts'
import { newCaller } from '../../support/media/objects.ts'
import { readCorpus } from '../../support/pictures/corpus.ts'
import { createRecordingLog } from '../../support/process/recording-log.ts'
import type { OpenDatabase } from '../../support/services/databases.ts'
import { openPGlite } from '../../support/services/pglite.ts'
import { openDisk } from '../../support/services/stores.ts'

const ORIGIN = 'https://api.example.com'
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
const rocket = await readCorpus('accept/rocket.jpg')

describe('an upload whose last request died', () => {
  let database: OpenDatabase
  let disk: Awaited<ReturnType<typeof openDisk>>
  let stores: TusStores
  let repository: Repository
  let media: Media
  let tus: Tus
  beforeAll(async () => {
    database = await openPGlite({ migrated: true })
    disk = await openDisk()
    const { storage } = disk
    const { log } = createRecordingLog()
    repository = createRepository({ sql: database.sql, pendingSeconds: 1000, retentionSeconds: 1000 })
    media = domainOn({ repository, storage, log }, limits).media
    stores = createDiskTusStores(storage)
    const locker = createLeaseLocker({ leases: media.uploads.tus.leases, log, leaseMs: 1000, stopping: () => false })
    tus = createTus({ media, storage, stores, locker, log, maxObjectBytes: 1e7, pendingSeconds: 1000 })
  }, 60_000)
  afterAll(async () => {
    await disk.close()
    await database.close()
  }, 30_000)

  const begin = async (bytes: Uint8Array) => {
    const caller = newCaller()
    const declared = {
      filename: 'a',
      fileType: 'image/jpeg',
      size: bytes.length,
      visibility: 'private',
      metadata: '',
    } as const
    const { id, key } = await media.uploads.tus.begin(caller, declared)
    const store = stores.open({
      records: media.uploads.tus.records,
      signal: new AbortController().signal,
      caller: caller.userId,
    })
    await store.create(new Upload({ id: key, size: bytes.length, offset: 0 }))
    return { caller, id, key, store }
  }
  const ask = (id: string, caller: ReturnType<typeof newCaller>) => {
    const request = new Request(`${ORIGIN}/media/tus/${id}`, { method: 'HEAD', headers: { 'tus-resumable': '1.0.0' } })
    return tus.handle({ request, id, caller, origin: ORIGIN })
  }
  const statusOf = async (id: string) =>
    (await database.sql`SELECT status FROM media_objects WHERE id = ${id}`)[0]?.status

  test('is completed by the next request for its offset, with one event', async () => {
    const { caller, id, key, store } = await begin(rocket)
    await store.write(Readable.from([Buffer.from(rocket)]), key, 0)
    expect(await statusOf(id)).toBe('pending')
    const answers = await Promise.all([ask(id, caller), ask(id, caller)])
    for (const { status, headers } of answers) {
      expect([status, headers.get('upload-offset')]).toEqual([200, String(rocket.length)])
      expect(headers.get('media-location')).toBe(`${ORIGIN}/media/${id}`)
    }
    expect(await statusOf(id)).toBe('active')
    expect((await database.sql`SELECT event_seq FROM media_objects WHERE id = ${id}`)[0]).toEqual({ event_seq: 1 })
  })

  test('is refused at the next request for its offset when its bytes are not as declared', async () => {
    const text = new Uint8Array(1000).fill(65)
    const { caller, id, key, store } = await begin(text)
    await store.write(Readable.from([Buffer.from(text)]), key, 0)
    expect(await refusal(ask(id, caller))).toMatchObject({ code: 'media_type_unsupported' })
    expect(await statusOf(id)).toBe('purging')
    expect(await disk.storage.head(key)).toBeNull()
    expect(await refusal(ask(id, caller))).toMatchObject({ code: 'not_found' })
  })
})
