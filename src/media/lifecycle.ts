/** The life of a media object, from the first byte to the last. */
import { create as createDisposition } from 'content-disposition'
import { v7 as uuidv7 } from 'uuid'
import type { Caller } from '../auth/auth.ts'
import { DATABASE_DEADLINE_MS } from '../db/connect.ts'
import type { Log } from '../log.ts'
import { fileTooLarge, Problem } from '../problem.ts'
import { putDeadlineMs, type Storage } from '../storage/storage.ts'
import { safeFileName } from './file-name.ts'
import { earlierPresign, earlierUpload, idempotencyOf } from './idempotency.ts'
import { acceptType, extensionOf, INSPECTED_BYTES, type Inspect, type Inspection } from './inspect.ts'
import { contentUrl, type MediaRow, prefixOf, type StoredObject, type Visibility } from './object.ts'
import type { Relay } from './relay.ts'
import type { Page, Repository } from './repository.ts'

export type Deps = {
  repository: Repository
  storage: Storage
  inspect: Inspect
  relay: Relay
  log: Log
  /** Unix time in milliseconds. */
  now: () => number
  limits: {
    allowedTypes: ReadonlySet<string>
    maxUploadBytes: number
    maxObjectBytes: number
    signedUrlSeconds: number
    uploadUrlSeconds: number
  }
}

export type Upload = {
  name: string
  bytes: Uint8Array
  visibility: Visibility
  idempotencyKey: string | undefined
}
export type Declaration = {
  filename: string
  fileType: string
  size: number | undefined
  /** 64 hexadecimal digits. */
  sha256: string | undefined
  visibility: Visibility
  idempotencyKey: string | undefined
}
export type UploadLink = {
  id: string
  key: string
  uploadUrl: string
  headers: Record<string, string>
  expiresAt: Date
}
export type Change = { originalName?: string | undefined; visibility?: Visibility | undefined }
/** `cacheSeconds`: how long a redirect to it may be cached. */
export type ReadLink = { url: string; expiresAt: Date; cacheSeconds: number }

export type Media = ReturnType<typeof createMedia>

// A PUT may go on after its caller gave up on it, and a link's PUT may begin in its last second and take its time.
const WRITER_GRACE_SECONDS = 3600
const REMOVAL_MS = 2000

/**
 * `origin` is where clients reach the service, for the stable address in answers and events.
 * All calls throw Problem `storage_unavailable` or `database_unavailable` where those fail; what they began is then
 * finished by upkeep.
 */
export function createMedia(deps: Deps) {
  const { repository, storage, inspect, relay, log, now, limits } = deps
  /** Ids are in order of time, so that a listing of the store is, too. */
  const newId = (mimeType: string) => {
    const madeAt = now()
    const id = uuidv7({ msecs: madeAt })
    return { id, madeAt, key: `${prefixOf(id)}original${extensionOf(mimeType)}` }
  }
  const announced = <T extends StoredObject | null>(row: T): T => {
    if (row !== null) relay.announce(row)
    return row
  }

  /** Takes a pending object out of its life, unless something else has just moved it on. Never fails. */
  async function discard(id: string): Promise<void> {
    try {
      if (await repository.abandon(id)) await removeBytes(id)
    } catch (error) {
      log.warn({ err: error, id }, 'object: left for upkeep to give up')
    }
  }

  /** Removes what is there now, soon or not at all: upkeep does it again, and nobody should wait for it. */
  async function removeBytes(id: string): Promise<void> {
    try {
      await storage.removePrefix(prefixOf(id), { signal: AbortSignal.timeout(REMOVAL_MS) })
    } catch (error) {
      log.warn({ err: error, id }, 'object: bytes left for upkeep to remove')
    }
  }

  /** What a pending object's stored bytes are, if they are what was declared. */
  async function examine(row: MediaRow): Promise<Inspection & { sizeBytes: number }> {
    const stored = await storage.head(row.key)
    if (stored === null) throw new Problem('upload_incomplete', 'No bytes have arrived under the upload link yet.')
    if (stored.size === 0) throw empty()
    if (stored.size > limits.maxObjectBytes) throw fileTooLarge(limits.maxObjectBytes)
    if (row.sizeBytes !== null && stored.size !== row.sizeBytes)
      throw new Problem('size_mismatch', `${row.sizeBytes} bytes were declared, ${stored.size} have arrived.`)
    const bytes = await storage.read(row.key, { start: 0, length: Math.min(stored.size, INSPECTED_BYTES) })
    const found = await inspect(bytes, { whole: bytes.length === stored.size })
    if (found.mimeType !== row.mimeType || stored.contentType !== row.mimeType)
      throw new Problem('type_mismatch', `${row.mimeType} was declared, the bytes are ${found.mimeType}.`)
    return { ...found, sizeBytes: stored.size }
  }

  return {
    /**
     * Stores a file that is here in full. The bytes and the pending row are written in parallel; only when both are
     * there does one UPDATE make the object visible and owe its event.
     * Throws what `inspect` throws, and Problem `file_empty`.
     */
    async upload(caller: Caller, upload: Upload, origin: string): Promise<StoredObject> {
      const { name, bytes, visibility } = upload
      if (bytes.length === 0) throw empty()
      const { mimeType, dimensions } = await inspect(bytes, { whole: true })
      const { userId } = caller
      const idempotency = idempotencyOf(upload.idempotencyKey, 'upload', name, visibility, bytes)
      const sizeBytes = bytes.length
      const putSeconds = Math.ceil(putDeadlineMs(sizeBytes) / 1000)
      const attemptSeconds = putSeconds + DATABASE_DEADLINE_MS / 1000
      const earlier = () => idempotency && earlierUpload(deps, discard, { userId, idempotency, attemptSeconds })
      const first = await earlier()
      if (first) return first

      const object = {
        ...newId(mimeType),
        userId,
        originalName: safeFileName(name),
        mimeType,
        sizeBytes,
        visibility,
        metadata: dimensions,
        linksSeconds: putSeconds + WRITER_GRACE_SECONDS,
        idempotency,
      }
      const [put, insert] = await Promise.allSettled([
        storage.put(object.key, bytes, { contentType: mimeType }),
        repository.insert(object),
      ])
      if (insert.status === 'fulfilled' && insert.value !== 'inserted') {
        // There is no row, and never will be: these bytes are nobody else's to remove.
        await removeBytes(object.id)
        const winner = insert.value === 'taken' ? await earlier() : null
        if (winner) return winner
        throw tooSlow()
      }
      try {
        if (put.status === 'rejected') throw put.reason
        if (insert.status === 'rejected') throw insert.reason
        const event = uploaded(object, { mimeType, dimensions, sizeBytes }, origin)
        const row = await repository.activate(object.id, { sizeBytes, metadata: dimensions, event })
        if (row === null) throw tooSlow()
        return announced(row)
      } catch (error) {
        const discarded = discard(object.id)
        // A database that has just missed its deadline would only make the client wait for another.
        if (!(error instanceof Problem && error.code === 'database_unavailable')) await discarded
        throw error
      }
    },

    /**
     * Announces an upload that goes straight to the store, and makes the link for it; with an idempotency key, again
     * for the same object. Throws Problem `media_type_unsupported`, `file_too_large` or `idempotency_conflict`.
     */
    async presign(caller: Caller, declared: Declaration): Promise<UploadLink> {
      const { idempotencyKey, ...declaration } = declared
      const { filename, size, sha256, visibility } = declaration
      const mimeType = acceptType(declared.fileType, limits.allowedTypes)
      if (size !== undefined && size > limits.maxObjectBytes) throw fileTooLarge(limits.maxObjectBytes)
      const { userId } = caller
      const idempotency = idempotencyOf(idempotencyKey, 'presign', declaration)
      const expiresIn = limits.uploadUrlSeconds
      const linksSeconds = expiresIn + WRITER_GRACE_SECONDS
      const linkTo = async ({ id, key }: { id: string; key: string }): Promise<UploadLink> => {
        const expiresAt = new Date(now() + expiresIn * 1000)
        const { url, headers } = await storage.signPut(key, { expiresIn, contentType: mimeType, size, sha256 })
        return { id, key, uploadUrl: url, headers, expiresAt }
      }
      const again = async () => {
        const first = idempotency && (await earlierPresign(repository, userId, idempotency))
        return first && (await repository.extendLinks(first.id, linksSeconds)) ? linkTo(first) : null
      }
      const before = await again()
      if (before) return before

      const object = newId(mimeType)
      const link = await linkTo(object)
      const inserted = await repository.insert({
        ...object,
        userId,
        originalName: safeFileName(filename),
        mimeType,
        sizeBytes: size ?? null,
        visibility,
        metadata: {},
        linksSeconds,
        idempotency,
      })
      if (inserted === 'inserted') return link
      const winner = inserted === 'taken' ? await again() : null
      if (winner) return winner
      throw tooSlow()
    },

    /**
     * The client says the bytes are there: looks at them, and makes the object active if they are what was declared.
     * Idempotent. Throws Problem `not_found` or `upload_incomplete`; or, with the object gone for good, what a direct
     * upload of these bytes would throw, `type_mismatch` or `size_mismatch`.
     */
    async complete(id: string, caller: Caller, origin: string): Promise<StoredObject> {
      const row = await repository.findOwned(id, caller)
      if (row?.status === 'active') return row
      if (row?.status !== 'pending') throw notFound()
      try {
        const found = await examine(row)
        const event = uploaded(row, found, origin)
        const activated = await repository.activate(id, { ...found, metadata: found.dimensions, event })
        if (activated !== null) return announced(activated)
      } catch (error) {
        if (error instanceof Problem && REFUSALS.has(error.status)) await discard(id)
        throw error
      }
      const winner = await repository.findOwned(id, caller)
      if (winner?.status === 'active') return winner
      throw notFound()
    },

    /** An active object that the viewer may see; null stands for someone who is not known. */
    async get(id: string, viewer: Caller | null): Promise<StoredObject> {
      return (await repository.findVisible(id, viewer)) ?? missing(viewer)
    },

    /** A page of the caller's own objects, newest first, and whether there are more. */
    async list(caller: Caller, page: Page): Promise<{ objects: StoredObject[]; more: boolean }> {
      const found = await repository.list(caller.userId, { ...page, limit: page.limit + 1 })
      return { objects: found.slice(0, page.limit), more: found.length > page.limit }
    },

    /** Those of the ids that are the caller's active objects, newest first. */
    listByIds: (caller: Caller, ids: string[]): Promise<StoredObject[]> => repository.listByIds(caller.userId, ids),

    async update(id: string, caller: Caller, change: Change, origin: string): Promise<StoredObject> {
      const { originalName, visibility } = change
      const safe = {
        ...(originalName !== undefined && { originalName: safeFileName(originalName) }),
        ...(visibility !== undefined && { visibility }),
      }
      const event = { channel: 'photo:updated' as const, fields: { url: contentUrl(origin, id), ...safe } }
      return announced(await repository.update(id, caller, safe, event)) ?? missing(caller)
    },

    /** Soft delete: it can be restored within the retention time. */
    async remove(id: string, caller: Caller): Promise<void> {
      announced(await repository.remove(id, caller)) ?? missing(caller)
    },

    async restore(id: string, caller: Caller, origin: string): Promise<StoredObject> {
      const event = { channel: 'photo:restored' as const, fields: { url: contentUrl(origin, id) } }
      return announced(await repository.restore(id, caller, event)) ?? missing(caller)
    },

    /**
     * A short-lived link to the bytes; see `Storage.signGet`. The same within a window of half its life, so that
     * caches get hits, and with at least that half left.
     */
    async sign(object: StoredObject, { download = false } = {}): Promise<ReadLink> {
      const { key, mimeType, originalName, visibility } = object
      const expiresIn = limits.signedUrlSeconds
      const window = Math.max(1, Math.floor(expiresIn / 2)) * 1000
      const from = new Date(Math.floor(now() / window) * window)
      const url = await storage.signGet(key, {
        from,
        expiresIn,
        contentType: mimeType,
        disposition: download ? createDisposition(originalName) : INLINE.test(mimeType) ? 'inline' : 'attachment',
        cacheControl: visibility === 'public' ? 'public, max-age=31536000, immutable' : 'private',
      })
      const expiresAt = new Date(from.getTime() + expiresIn * 1000)
      return { url, expiresAt, cacheSeconds: Math.floor((expiresAt.getTime() - now()) / 2000) }
    },
  }
}

// What a problem with the bytes themselves is answered with; anything else may be different the next time.
const REFUSALS = new Set([400, 413, 415, 422])
// Shown by browsers without running anything.
const INLINE = /^(image|video|audio)\//

type NamedObject = Pick<StoredObject, 'id' | 'key' | 'originalName'>

function uploaded(
  object: NamedObject,
  { mimeType, dimensions, sizeBytes }: Inspection & { sizeBytes: number },
  origin: string,
) {
  const { id, key, originalName } = object
  const fields = { url: contentUrl(origin, id), key, mimeType, sizeBytes, ...dimensions, originalName }
  return { channel: 'photo:uploaded' as const, fields }
}

function missing(viewer: Caller | null): never {
  if (viewer === null) throw new Problem('token_missing', 'Authenticate to see whether there is something here.')
  throw notFound()
}

function tooSlow(): Problem {
  return new Problem('database_unavailable', 'The upload took too long. Start it again.')
}

function notFound(): Problem {
  return new Problem('not_found', 'There is no such media object, or it is not yours.')
}

function empty(): Problem {
  return new Problem('file_empty', 'The file has no bytes.')
}
