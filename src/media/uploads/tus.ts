/** tus uploads in the domain: pending objects whose bytes come through the service in any number of pieces. */

import type { Caller } from '../../auth/caller.ts'
import { fileTooLarge } from '../../problem.ts'
import { piecesPrefix, type UploadRecords } from '../../storage/tus.ts'
import { acceptDeclared } from '../bytes/inspect.ts'
import { REMOVAL_MS } from '../bytes/remove.ts'
import type { Deps } from '../deps.ts'
import { safeFileName } from '../object/file-name.ts'
import { TUS_LINKS_SECONDS } from '../object/graces.ts'
import type { Visibility } from '../object/object.ts'
import { areLimited, sizeRequired } from '../object/quota.ts'
import type { TusUpload } from '../table/tus.ts'
import { assembleTus, leasesOf, recordsOf } from './assemble-tus.ts'
import { newId, refusal } from './new-object.ts'
import { empty } from './settle.ts'
import type { UploadLeases } from './tus-locker.ts'

export type TusDeclaration = {
  filename: string
  /** A media type; without one, the bytes decide. */
  fileType?: string | undefined
  /** Bytes; undefined if the client declares them later. */
  size: number | undefined
  visibility: Visibility
  /** See `NewObject`. */
  holdSeconds?: number | undefined
  /** The Upload-Metadata as it was sent. */
  metadata: string
}

/** Resumable uploads (tus 1.0): bytes pass through the service in any number of requests. */
export interface TusUploads {
  /** Whether a client may declare the size later. Not with quotas, which count declared sizes. */
  deferrable: boolean
  /**
   * Creates a pending object.
   * @throws Problem `media_type_unsupported`, `file_empty`, `file_too_large`, `quota_exceeded`, or `request_invalid`
   * if the size is missing and cannot be declared later
   */
  begin(caller: Caller, declared: TusDeclaration): Promise<{ id: string; key: string }>
  /** The caller's tus upload, pending or complete; null for any other id. */
  find(id: string, caller: Caller): Promise<TusUpload | null>
  /** The state of a tus upload that its store keeps on the row. */
  records: UploadRecords
  /** See `LeaseLocker`. */
  leases: UploadLeases
  /**
   * Assembles a pending upload whose bytes are all there; asks another writer to stop. Source: `assemble-tus.ts`.
   * @throws Problem `upload_incomplete`, `upload_locked`, or `not_found` when the upload is not pending or the store has
   * lost it
   */
  assemble(key: string): Promise<void>
  /** Removes the leftover pieces of a completed upload; the sweep removes those that are left. Never fails. */
  removePieces(key: string): Promise<void>
}

export function createTusUploads(deps: Deps<'uploads' | 'tusUploads'>): TusUploads {
  const { repository, limits } = deps
  return {
    deferrable: !areLimited(limits.quotas),
    begin: (caller, declared) => begin(deps, caller, declared),
    find: repository.tusUploads.find,
    records: recordsOf(deps),
    leases: leasesOf(deps),
    assemble: (key) => assembleTus(deps, key, { ask: true }),
    removePieces: (key) => removePieces(deps, key),
  }
}

async function begin({ repository, now, limits }: Deps<'uploads'>, caller: Caller, declared: TusDeclaration) {
  const { filename, fileType, size, visibility, holdSeconds, metadata } = declared
  const mimeType = acceptDeclared(fileType, limits.allowedTypes)
  if (size === undefined && areLimited(limits.quotas)) throw sizeRequired()
  if (size === 0) throw empty()
  if (size !== undefined && size > limits.maxObjectBytes) throw fileTooLarge(limits.maxObjectBytes)
  const object = newId(now(), mimeType)
  const inserted = await repository.uploads.insert({
    ...object,
    userId: caller.userId,
    originalName: safeFileName(filename),
    mimeType,
    sizeBytes: size ?? null,
    visibility,
    holdSeconds,
    metadata: {},
    linksSeconds: TUS_LINKS_SECONDS,
    completeInSeconds: limits.autoCompleteSeconds,
    idempotency: undefined,
    tusMetadata: metadata,
  })
  if (inserted !== 'inserted') throw refusal(inserted)
  return object
}

async function removePieces({ storage, log }: Deps<never>, key: string): Promise<void> {
  const signal = AbortSignal.timeout(REMOVAL_MS)
  try {
    const pieces = await storage.list({ prefix: piecesPrefix(key), limit: 1000, signal })
    if (pieces.length === 0) return
    await storage.remove(
      pieces.map((piece) => piece.key),
      { signal },
    )
  } catch (error) {
    log.warn({ err: error, key }, 'tus: pieces left for upkeep to sweep')
  }
}
