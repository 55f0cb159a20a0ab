import { expect } from 'bun:test'
import sharp from 'sharp'
import type { Quotas } from '../../../src/media/object/quota.ts'
import { NO_QUOTAS } from '../../../src/media/object/quota.ts'
import type { Wish } from '../../../src/media/object/rendition.ts'
import type { Viewer } from '../../../src/media/object/viewer.ts'
import { createRepository } from '../../../src/media/table/repository.ts'
import { DecodeFailure, type DecodeResult, type DecodeTask } from '../../../src/pictures/decoding.ts'
import { Problem } from '../../../src/problem.ts'
import type { Storage } from '../../../src/storage/storage.ts'
import { refusal } from '../http/refusal.ts'
import { domainOn } from '../media/domain.ts'
import { newCaller } from '../media/objects.ts'
import { DEFAULT_TYPES } from '../pictures/corpus.ts'
import { createInProcessDecoders } from '../pictures/in-process.ts'
import type { OpenDatabase, Wanted } from '../services/databases.ts'
import { stores } from '../services/stores.ts'
import { openEmptied } from './rows-and-bytes.ts'

export const SIZES = [160, 320, 480, 640, 800, 1280, 1920, 2560, 3840]
export const ACCEPTS = ['image/avif', 'image/webp', '*/*']
export const SIGNED_URL_SECONDS = 900
export const MiB = 1024 * 1024
const limits = {
  allowedTypes: DEFAULT_TYPES,
  maxUploadBytes: 1e8,
  maxObjectBytes: 1e8,
  renditionSizes: SIZES,
  signedUrlSeconds: SIGNED_URL_SECONDS,
  uploadUrlSeconds: 900,
}
const [disk = expect.unreachable()] = stores.filter(({ name }) => name === 'disk')
export const large = new Uint8Array(
  await sharp({ create: { width: 5000, height: 4000, channels: 3, background: '#345' } })
    .jpeg()
    .toBuffer(),
)

export async function problemOf(call: Promise<unknown>): Promise<Problem> {
  const error = await refusal(call)
  return error instanceof Problem ? error : Promise.reject(error)
}

/** As a plain `?w=` asks, or with more. */
export const wishOf = (width: number | undefined, more: Partial<Wish> = {}): Wish => ({
  ...{ width, height: undefined, fit: 'inside', format: 'auto', quality: 75, ...more },
})

/** A database and a store for the tests of a `describe`, both empty before each, and replicas on them. */
export function setUpRenditions(open: (wanted: Wanted) => Promise<OpenDatabase>) {
  const on = openEmptied(open, disk.open)
  const owner = newCaller()

  type Some = {
    perform?: (task: DecodeTask, bytes: Uint8Array) => Promise<DecodeResult>
    version?: string
    quotas?: Quotas
    storage?: Storage
    ahead?: number
  }
  /** One replica. */
  function service({ quotas = NO_QUOTAS, storage = on.store.storage, ahead = 0, ...some }: Some = {}) {
    const repository = createRepository({ sql: on.database.sql, pendingSeconds: 1e6, retentionSeconds: 1e6, quotas })
    const decoders = createInProcessDecoders(some)
    const ports = { repository, storage, decoders, now: () => Date.now() + ahead }
    const { media, upkeep } = domainOn(ports, { ...limits, quotas, pendingSeconds: 1e6 })
    const get = (id: string, viewer: Viewer, wish: Wish, accept = 'image/webp') =>
      media.renditions.get(id, viewer, { wish, accept, party: 'address:1' })
    return { media, repository, upkeep, decoders, get }
  }
  /** Decoders that make so many bytes of whatever is asked for. */
  const making = (size: number) => async (task: DecodeTask) => ({
    ...(task.kind === 'rendition' ? task.expected : { width: 1, height: 1 }),
    ...{ bytes: new Uint8Array(size), placeholder: undefined },
  })
  const failing = (kind: DecodeFailure['kind'], code: DecodeFailure['code']) => async () => {
    throw new DecodeFailure(kind, code, 'A failure of the test.')
  }
  async function uploaded(bytes = large, visibility: 'public' | 'private' = 'public') {
    const file = { name: 'a.jpg', bytes, visibility, idempotencyKey: undefined }
    return (await service().media.uploads.direct(owner, file)).id
  }
  const rowOf = async (id: string) => {
    const [row] = await on.database.sql`
      SELECT renditions, rendition_bytes AS own, stranger_bytes AS strangers, metadata, decode_outcomes AS outcomes
      FROM media_objects WHERE id = ${id}`
    return row ?? expect.unreachable()
  }
  const keysOf = async (id: string) =>
    (await on.store.storage.list({ prefix: `media/${id}/r/`, limit: 1000 })).map(({ key }) => key)
  const today = Math.floor(Date.now() / 86_400_000)
  const setUse = (id: string, day: number) => on.database.sql`
    UPDATE media_objects SET renditions = (SELECT jsonb_object_agg(name, value || jsonb_build_object('used', ${day}::int))
      FROM jsonb_each(renditions) AS each (name, value)) WHERE id = ${id}`
  return {
    get database() {
      return on.database
    },
    get store() {
      return on.store
    },
    ...{ owner, service, making, failing, uploaded, rowOf, keysOf, today, setUse },
  }
}
