/** The domain on one of the stores, with a CDN in front of public objects and time that passes for it. */
import { beforeEach } from 'bun:test'
import type { Caller } from '../../../src/auth/caller.ts'
import type { MediaEvent } from '../../../src/events/events.ts'
import { createMemoryEventBus } from '../../../src/events/memory.ts'
import { NO_QUOTAS } from '../../../src/media/object/quota.ts'
import { createRepository } from '../../../src/media/table/repository.ts'
import type { Decoders } from '../../../src/pictures/decoding.ts'
import type { Storage } from '../../../src/storage/storage.ts'
import { readCorpus } from '../pictures/corpus.ts'
import type { OpenDatabase } from '../services/databases.ts'
import { openPGlite } from '../services/pglite.ts'
import type { OpenStore } from '../services/stores.ts'
import { domainOn } from './domain.ts'
import { openEmptied } from './rows-and-bytes.ts'

export const ORIGIN = 'http://media.test'
export const CDN = 'https://cdn.example.com'
export const owner: Caller = { userId: '11111111-2222-4333-8444-555555555555', role: 'user' }
export const rocket = await readCorpus('accept/rocket.jpg')

const settings = {
  maxUploadBytes: 1e7,
  maxObjectBytes: 1e7,
  renditionSizes: [160, 320],
  signedUrlSeconds: 900,
  uploadUrlSeconds: 900,
  allowedTypes: new Set(['image/jpeg', 'image/png']),
  quotas: NO_QUOTAS,
}

type Some = {
  cdnBaseUrl?: string | undefined
  publicOriginals?: boolean
  decoders?: Decoders
  /** Instead of the store itself. */
  storage?: Storage
}

/** Opens a store and a database before the tests of a `describe`, empties them before each, and closes them after all. */
export function domainOnStore(open: () => Promise<OpenStore>) {
  const on = openEmptied(openPGlite, open)
  let events: MediaEvent[] = []
  let ahead = 0
  beforeEach(() => {
    events = []
    ahead = 0
  })

  const keys = async () => (await on.store.storage.list({ prefix: '', limit: 100 })).map(({ key }) => key)
  return {
    get store() {
      return on.store
    },
    sql: (...query: Parameters<OpenDatabase['sql']>) => on.database.sql(...query),
    /** For the domain, not for the database. */
    setAhead(milliseconds: number) {
      ahead = milliseconds
    },
    keys,
    publicKeys: async () => (await keys()).filter((key) => key.startsWith('public/')),
    bytesAt: (key: string) => on.store.storage.read(key, { start: 0, length: 1e7 }),
    /** The events, once there are so many. */
    async announced(count: number) {
      for (let i = 0; i < 100 && events.length < count; i++) await Bun.sleep(20)
      return events.map(({ channel, payload }) => [channel, payload.url])
    },
    createService(some: Some = {}) {
      const { storage, decoders, ...changed } = { cdnBaseUrl: CDN, storage: on.store.storage, ...some }
      const bus = createMemoryEventBus()
      bus.subscribe((event) => events.push(event))
      const repository = createRepository({ sql: on.database.sql, pendingSeconds: 1000, retentionSeconds: 1000 })
      const ports = { repository, storage, events: bus, now: () => Date.now() + ahead, ...(decoders && { decoders }) }
      const { media, upkeep, publicAccess, makePublicCopy } = domainOn(ports, { ...settings, ...changed })
      return { media, repository, upkeep, urlOf: publicAccess.urlOf, makePublicCopy }
    },
  }
}

/** A direct upload of the corpus' rocket. */
export const file = (visibility: 'private' | 'public') => ({
  ...{ name: 'rocket.jpg', bytes: rocket, visibility, idempotencyKey: undefined },
})

/** A presign of the same. */
export const declaration = (visibility: 'private' | 'public') => ({
  ...{ filename: 'r.jpg', fileType: 'image/jpeg', size: rocket.length, sha256: undefined },
  ...{ visibility, idempotencyKey: undefined },
})
