/** tus uploads in the domain: pending objects whose bytes come through the service in any number of pieces. */

import type { Caller } from '../../auth/caller.ts'
import { fileTooLarge } from '../../problem.ts'
import { piecesPrefix } from '../../storage/tus.ts'
import { acceptType } from '../bytes/inspect.ts'
import { REMOVAL_MS } from '../bytes/remove.ts'
import type { Deps } from '../deps.ts'
import { safeFileName } from '../object/file-name.ts'
import { TUS_LINKS_SECONDS } from '../object/graces.ts'
import type { Visibility } from '../object/object.ts'
import { areLimited, sizeRequired } from '../object/quota.ts'
import type { LeaseOutcome } from '../table/tus.ts'
import { newId, refusal } from './new-object.ts'
import { empty } from './settle.ts'

export type TusDeclaration = {
  filename: string
  fileType: string
  /** Bytes; undefined if the client declares them later. */
  size: number | undefined
  visibility: Visibility
  /** The Upload-Metadata as it was sent. */
  metadata: string
}

/** See `LeaseLocker`. */
export type TusLeases = {
  take(key: string, lease: string, options: { ask: boolean }): Promise<LeaseOutcome>
  renew(key: string, lease: string): Promise<{ wanted: boolean } | null>
  release(key: string, lease: string): Promise<void>
}

export function createTusUploads(deps: Deps<'uploads' | 'tusUploads'>) {
  const { repository, limits } = deps
  return {
    deferrable: !areLimited(limits.quotas),
    begin: (caller: Caller, declared: TusDeclaration) => begin(deps, caller, declared),
    find: repository.tusUploads.find,
    records: {
      load: repository.tusUploads.record,
      keepUploadId: repository.tusUploads.keepUploadId,
      declareSize: repository.tusUploads.declareSize,
    },
    leases: {
      take: repository.tusUploads.takeLease,
      renew: repository.tusUploads.renewLease,
      release: repository.tusUploads.releaseLease,
    },
    removePieces: (key: string) => removePieces(deps, key),
  }
}

async function begin({ repository, now, limits }: Deps<'uploads'>, caller: Caller, declared: TusDeclaration) {
  const { filename, fileType, size, visibility, metadata } = declared
  const mimeType = acceptType(fileType, limits.allowedTypes)
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
