/**
 * Multipart uploads: the client sends parts straight to the store, in any order, and again if one fails. This file
 * begins, lists and aborts them; `part-links.ts` signs links to parts, and `assemble.ts` joins the parts.
 */

import type { Caller } from '../../auth/caller.ts'
import { fileTooLarge, notFound, Problem } from '../../problem.ts'
import { lookAgain } from '../../storage/look-again.ts'
import type { StoredPart } from '../../storage/multipart.ts'
import { acceptDeclared } from '../bytes/inspect.ts'
import { tryToRemoveBytes } from '../bytes/remove.ts'
import { safeFileName } from '../object/file-name.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { Idempotency } from '../object/new-object.ts'
import type { Visibility } from '../object/object.ts'
import type { MultipartRow } from '../table/multipart-uploads.ts'
import { ended, md5Required, multipartOf } from './assemble.ts'
import { earlierPending, idempotencyOf } from './idempotency.ts'
import { newId, refusal, tooSlow } from './new-object.ts'
import { partSizeOf } from './part-size.ts'
import type { Uploading } from './settle.ts'

export type MultipartDeclaration = {
  filename: string
  /** A media type; without one, the bytes decide. */
  fileType?: string | undefined
  /** Bytes. */
  size: number
  sha256: string | undefined
  /** The checksum that the client will name for each part, if any. */
  partChecksums: 'md5' | undefined
  visibility: Visibility
  /** See `NewObject`. */
  holdSeconds?: number | undefined
  idempotencyKey: string | undefined
}

/** `partSize`: the size of every part but the last, in bytes. `expiresAt`: until when the upload may stay pending. */
export type MultipartUpload = { id: string; key: string; uploadId: string; partSize: number; expiresAt: Date }

/** The stored parts; `parts` is null when they are assembled already, so that none is to be sent. */
export type ArrivedParts = MultipartRow & { parts: StoredPart[] | null }

type Declared = { mimeType: string; size: number }

/** See `Uploads.beginMultipart`. */
export async function beginMultipart(
  deps: Uploading,
  caller: Caller,
  { idempotencyKey, partChecksums, ...declaration }: MultipartDeclaration,
): Promise<MultipartUpload> {
  const { repository, storage, now, limits } = deps
  const { filename, size, visibility, holdSeconds } = declaration
  if (multipartOf(storage).needsMd5 && partChecksums === undefined) throw md5Required()
  if (declaration.sha256 !== undefined)
    throw new Problem('checksum_unenforceable', 'No store checks the SHA-256 of a multipart upload. Leave it out.')
  const mimeType = acceptDeclared(declaration.fileType, limits.allowedTypes)
  if (size > limits.maxObjectBytes) throw fileTooLarge(limits.maxObjectBytes)
  const { userId } = caller
  const idempotency = idempotencyOf(idempotencyKey, 'multipart', declaration)
  const before = await beginAgain(deps, userId, idempotency, { mimeType, size })
  if (before) return before

  const object = newId(now(), mimeType)
  const originalName = safeFileName(filename)
  const described = { userId, originalName, mimeType, sizeBytes: size, visibility, holdSeconds, metadata: {} }
  const linksSeconds = limits.uploadUrlSeconds + WRITER_GRACE_SECONDS
  const times = { linksSeconds, completeInSeconds: limits.autoCompleteSeconds }
  const inserted = await repository.uploads.insert({ ...object, ...described, ...times, idempotency })
  if (inserted === 'inserted') return open(deps, object, { mimeType, size })
  const winner = inserted === 'taken' ? await beginAgain(deps, userId, idempotency, { mimeType, size }) : null
  if (winner) return winner
  throw refusal(inserted)
}

/** The pending upload that an earlier request with the same key began; null when there is none. */
async function beginAgain(
  deps: Uploading,
  userId: string,
  idempotency: Idempotency | undefined,
  declared: Declared,
): Promise<MultipartUpload | null> {
  const { repository } = deps
  const first = idempotency && (await earlierPending(repository, userId, idempotency))
  if (!first) return null
  const { id, key, uploadId } = first
  if (uploadId === null) return open(deps, first, declared)
  const kept = await repository.multipartUploads.keepUploadId(id, uploadId)
  if (kept === null) return beginAgain(deps, userId, idempotency, declared)
  return { id, key, ...kept, partSize: partSizeOf(declared.size) }
}

/**
 * Begins the store's upload for a pending row, unless the row has one. The row exists first, so that no upload is
 * without one.
 */
async function open(
  { repository, storage }: Uploading,
  { id, key }: { id: string; key: string },
  { mimeType, size }: Declared,
): Promise<MultipartUpload> {
  const uploadId = await multipartOf(storage).begin(key, { contentType: mimeType })
  const kept = await repository.multipartUploads.keepUploadId(id, uploadId)
  if (kept?.uploadId !== uploadId) await storage.abortUploads(key, { except: kept?.uploadId })
  if (kept === null) throw tooSlow()
  return { id, key, ...kept, partSize: partSizeOf(size) }
}

/** See `Uploads.findMultipart`. */
export async function findMultipart(
  deps: Uploading,
  id: string,
  caller: Caller,
): Promise<MultipartRow & { status: 'pending' | 'active' }> {
  const row = await deps.repository.objects.findOwned(id, caller)
  if (row?.status !== 'pending' && row?.status !== 'active') throw notFound()
  const { key, uploadId, sizeBytes, status } = row
  if (uploadId === null || sizeBytes === null) return refuse(deps, id, caller)
  return { key, uploadId, sizeBytes, status }
}

/** See `Uploads.arrivedParts`. */
export async function arrivedParts(deps: Uploading, id: string, caller: Caller): Promise<ArrivedParts> {
  const { storage } = deps
  const { status, ...row } = await findMultipart(deps, id, caller)
  if (status === 'active') return { ...row, parts: null }
  const multipart = multipartOf(storage)
  const seen = await lookAgain(async () => {
    const parts = await multipart.parts(row.key, row.uploadId)
    return parts !== null || (await storage.head(row.key)) !== null ? { parts } : undefined
  })
  if (seen === undefined) throw ended()
  return { ...row, ...seen }
}

/** See `Uploads.abort`. */
export async function abort(deps: Uploading, id: string, caller: Caller): Promise<void> {
  const row = (await deps.repository.uploads.abort(id, caller)) ?? (await refuse(deps, id, caller))
  await tryToRemoveBytes(deps, { id, key: row.key })
}

/** @throws why an upload cannot go on, if the caller may know; else `not_found` */
export async function refuse({ repository }: Uploading, id: string, caller: Caller): Promise<never> {
  const row = await repository.objects.findOwned(id, caller)
  if (row?.status === 'active') throw new Problem('state_conflict', 'The upload is complete.')
  if (row?.status === 'pending') throw new Problem('state_conflict', 'This is not a multipart upload.')
  throw notFound()
}
