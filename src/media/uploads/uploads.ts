/** How bytes come in, and become an object or nothing. */

import type { Caller } from '../../auth/caller.ts'
import { DATABASE_DEADLINE_MS } from '../../db/connect.ts'
import { INSPECTED_BYTES } from '../../pictures/limits.ts'
import { fileTooLarge, notFound, Problem, type ProblemCode } from '../../problem.ts'
import { putDeadlineMs, type StoredHead } from '../../storage/storage.ts'
import { acceptType, type Inspection } from '../bytes/inspect.ts'
import { createMoves } from '../bytes/rekey.ts'
import { tryToRemoveBytes } from '../bytes/remove.ts'
import type { Deps } from '../deps.ts'
import { safeFileName } from '../object/file-name.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import {
  type Addressed,
  type ChangedObject,
  dispositionOf,
  type MediaRow,
  type StoredObject,
  type Visibility,
} from '../object/object.ts'
import { areLimited, sizeRequired } from '../object/quota.ts'
import { earlierAnnouncement, earlierUpload, idempotencyOf } from './idempotency.ts'
import { assemble } from './multipart-uploads.ts'
import { newId, refusal, tooSlow } from './new-object.ts'

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

export function createUploads(deps: Deps) {
  const { repository, storage, inspect, relay, log, now, limits, publicity } = deps
  const { addressed, urlOf } = publicity
  const hasQuotas = areLimited(limits.quotas)
  const moves = createMoves(deps)
  const announced = (row: ChangedObject): Addressed => {
    relay.announce(row)
    return addressed(row)
  }

  /** Takes a pending object out of its life, unless something else has just moved it on. Never fails. */
  async function discard(object: { id: string; key: string }): Promise<void> {
    const { id } = object
    try {
      if (await repository.abandon(id)) await tryToRemoveBytes(deps, object)
    } catch (error) {
      log.warn({ err: error, id }, 'object: left for upkeep to give up')
    }
  }

  /** What a pending object's stored bytes are, if they are what was declared. */
  async function examine(row: MediaRow): Promise<Inspection & Pick<StoredHead, 'etag' | 'ordinaryClass'> & Sized> {
    const stored = await storage.peek(row.key, { length: INSPECTED_BYTES })
    if (stored === null) throw new Problem('upload_incomplete', 'No bytes have arrived under the upload link yet.')
    if (stored.size === 0) throw empty()
    if (stored.size > limits.maxObjectBytes) throw fileTooLarge(limits.maxObjectBytes)
    if (row.sizeBytes !== null && stored.size !== row.sizeBytes)
      throw new Problem('size_mismatch', `${row.sizeBytes} bytes were declared, ${stored.size} have arrived.`)
    if (stored.contentEncoding !== null)
      throw new Problem('type_mismatch', `The bytes were sent with Content-Encoding: ${stored.contentEncoding}.`)
    const { etag, ordinaryClass } = stored
    const found = await inspect(stored.bytes)
    if (found.mimeType !== row.mimeType || stored.contentType !== row.mimeType)
      throw new Problem('type_mismatch', `${row.mimeType} was declared, the bytes are ${found.mimeType}.`)
    return { ...found, sizeBytes: stored.size, etag, ordinaryClass }
  }

  return {
    /**
     * Stores a file that is here in full. The bytes and the pending row are written in parallel; only when both are
     * there does one UPDATE make the object visible and owe its event.
     * Throws what `inspect` throws, and Problem `file_empty` or `quota_exceeded`.
     */
    async upload(caller: Caller, upload: Upload): Promise<Addressed> {
      const { name, bytes, visibility } = upload
      if (bytes.length === 0) throw empty()
      const { mimeType, dimensions } = await inspect(bytes)
      const { userId } = caller
      const idempotency = idempotencyOf(upload.idempotencyKey, 'upload', name, visibility, bytes)
      const sizeBytes = bytes.length
      const putSeconds = Math.ceil(putDeadlineMs(sizeBytes) / 1000)
      const attemptSeconds = putSeconds + DATABASE_DEADLINE_MS / 1000
      const earlier = () => idempotency && earlierUpload(deps, discard, { userId, idempotency, attemptSeconds })
      const first = await earlier()
      if (first) return addressed(first)

      const object = {
        ...newId(now(), mimeType),
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
        storage.put(object.key, bytes, { contentType: mimeType, disposition: dispositionOf(mimeType) }),
        repository.insert(object),
      ])
      if (insert.status === 'fulfilled' && insert.value !== 'inserted') {
        // There is no row, and never will be: these bytes are nobody else's to remove.
        await tryToRemoveBytes(deps, object)
        const winner = insert.value === 'taken' ? await earlier() : null
        if (winner) return addressed(winner)
        throw refusal(insert.value)
      }
      try {
        if (put.status === 'rejected') throw put.reason
        if (insert.status === 'rejected') throw insert.reason
        const event = uploaded(object, { mimeType, dimensions, sizeBytes }, urlOf({ ...object, publicKey: null }))
        const row = await repository.activate(object.id, { sizeBytes, metadata: dimensions, event })
        if (row === null) throw tooSlow()
        return announced(row)
      } catch (error) {
        const discarded = discard(object)
        // A database that has just missed its deadline would only make the client wait for another.
        if (!(error instanceof Problem && error.code === 'database_unavailable')) await discarded
        throw error
      }
    },

    /**
     * Announces an upload that goes straight to the store, and makes the link for it; with an idempotency key, again
     * for the same object while it is pending. Throws Problem `media_type_unsupported`, `file_too_large`,
     * `quota_exceeded`, `idempotency_conflict`, `state_conflict` with the id of what was uploaded with this key, or
     * `request_invalid` without a size where there are quotas.
     */
    async presign(caller: Caller, declared: Declaration): Promise<UploadLink> {
      const { idempotencyKey, ...declaration } = declared
      const { filename, size, sha256, visibility } = declaration
      if (sha256 !== undefined && !storage.enforces.checksum)
        throw new Problem('checksum_unenforceable', 'The store does not check SHA-256. Leave it out.')
      const mimeType = acceptType(declared.fileType, limits.allowedTypes)
      if (size === undefined && hasQuotas) throw sizeRequired()
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
      const again = async (): Promise<UploadLink | null> => {
        const first = idempotency && (await earlierAnnouncement(repository, userId, idempotency))
        if (!first) return null
        // The statement's own answer decides what is signed: an active key on a store without `once` would be open.
        const pending = await repository.extendPending(first.id, linksSeconds)
        return pending === null ? again() : linkTo({ id: first.id, ...pending })
      }
      const before = await again()
      if (before) return before

      const object = newId(now(), mimeType)
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
      throw refusal(inserted)
    },

    /**
     * The client says the bytes are there: looks at them, and makes the object active if they are what was declared.
     * Idempotent. Throws Problem `not_found` or `upload_incomplete`; or, with the object gone for good, what a direct
     * upload of these bytes would throw, `type_mismatch` or `size_mismatch`.
     */
    async complete(id: string, caller: Caller): Promise<Addressed> {
      const row = await repository.findOwned(id, caller)
      if (row?.status === 'active') return addressed(row)
      if (row?.status !== 'pending') throw notFound()
      try {
        await assemble(deps, row)
        const { etag, ordinaryClass, ...found } = await examine(row)
        // Links to parts are dead with their upload: no one can put other bytes there any more.
        const overwritable = !storage.enforces.once && row.uploadId === null
        // A copy is of the class that the service's own are, whatever its uploader has asked for.
        const movedTo =
          overwritable || !ordinaryClass ? await moves.copy(row, 'media/', { etag, size: found.sizeBytes }) : undefined
        const object = { ...row, key: movedTo ?? row.key }
        const event = uploaded(object, found, urlOf(object))
        const activated = await repository.activate(id, { ...found, metadata: found.dimensions, movedTo, event })
        if (movedTo !== undefined) await moves.remove(activated === null ? movedTo : row.key)
        if (activated !== null) return announced(activated)
      } catch (error) {
        // Only this destroys the bytes that arrived. Anything else may be different the next time.
        if (error instanceof Problem && error.kind === 'refused-bytes') await discard(row)
        const lost = error instanceof Problem && LOST.has(error.code)
        if (!lost || (await repository.findOwned(id, caller))?.status === 'pending') throw error
      }
      const winner = await repository.findOwned(id, caller)
      if (winner?.status === 'active') return addressed(winner)
      // Still pending: the bytes were moved, but in more time than a move has.
      throw winner?.status === 'pending' ? tooSlow() : notFound()
    },
  }
}

// What bytes look like that another call has refused or moved while they were looked at: then its answer counts.
const LOST = new Set<ProblemCode>(['upload_incomplete', 'state_conflict', 'storage_unavailable'])
type Sized = { sizeBytes: number }
type NamedObject = Pick<StoredObject, 'key' | 'originalName'>

function uploaded(object: NamedObject, { mimeType, dimensions, sizeBytes }: Inspection & Sized, url: string) {
  const { key, originalName } = object
  const fields = { url, key, mimeType, sizeBytes, ...dimensions, originalName }
  return { channel: 'photo:uploaded' as const, fields }
}

function empty(): Problem {
  return new Problem('file_empty', 'The file has no bytes.')
}
