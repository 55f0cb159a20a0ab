/** Presigned uploads: the client sends the file straight to the store, over one link. */

import type { Caller } from '../../auth/caller.ts'
import { fileTooLarge, Problem } from '../../problem.ts'
import { acceptDeclared } from '../bytes/inspect.ts'
import { uploadLife } from '../bytes/links.ts'
import { safeFileName } from '../object/file-name.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { Idempotency } from '../object/new-object.ts'
import type { Visibility } from '../object/object.ts'
import { areLimited, sizeRequired } from '../object/quota.ts'
import { earlierPending, idempotencyOf } from './idempotency.ts'
import { newId, refusal } from './new-object.ts'
import type { Uploading } from './settle.ts'

export type Declaration = {
  filename: string
  /** A media type; without one, the bytes decide. */
  fileType?: string | undefined
  /** Bytes. */
  size: number | undefined
  /** 64 hexadecimal digits. */
  sha256: string | undefined
  visibility: Visibility
  /** See `NewObject`. */
  holdSeconds?: number | undefined
  idempotencyKey: string | undefined
}

/** `expiresAt`: until when the PUT may begin. */
export type UploadLink = {
  id: string
  key: string
  uploadUrl: string
  headers: Record<string, string>
  expiresAt: Date
}

type Content = { contentType: string; size: number | undefined; sha256: string | undefined }

/** See `Uploads.presign`. */
export async function presign(deps: Uploading, caller: Caller, declared: Declaration): Promise<UploadLink> {
  const { repository, now, limits } = deps
  const { idempotencyKey, ...declaration } = declared
  const mimeType = acceptDeclaration(deps, declaration)
  const { filename, size, sha256, visibility, holdSeconds } = declaration
  const content = { contentType: mimeType, size, sha256 }
  const { userId } = caller
  const idempotency = idempotencyOf(idempotencyKey, 'presign', declaration)
  const before = await linkAgain(deps, userId, idempotency, content)
  if (before) return before

  const object = newId(now(), mimeType)
  const link = await linkTo(deps, object, content)
  const inserted = await repository.uploads.insert({
    ...object,
    userId,
    originalName: safeFileName(filename),
    mimeType,
    sizeBytes: size ?? null,
    visibility,
    holdSeconds,
    metadata: {},
    linksSeconds: limits.uploadUrlSeconds + WRITER_GRACE_SECONDS,
    completeInSeconds: limits.autoCompleteSeconds,
    idempotency,
  })
  if (inserted === 'inserted') return link
  const winner = inserted === 'taken' ? await linkAgain(deps, userId, idempotency, content) : null
  if (winner) return winner
  throw refusal(inserted)
}

/** Returns the declared type, if a file as declared may be uploaded. */
function acceptDeclaration({ storage, limits }: Uploading, declared: Omit<Declaration, 'idempotencyKey'>): string {
  const { fileType, size, sha256 } = declared
  if (sha256 !== undefined && !storage.enforces.checksum)
    throw new Problem('checksum_unenforceable', 'The store does not check SHA-256. Leave it out.')
  const mimeType = acceptDeclared(fileType, limits.allowedTypes)
  if (size === undefined && areLimited(limits.quotas)) throw sizeRequired()
  if (size === undefined && sha256 === undefined && !storage.enforces.whole) throw sizeRequired(KEEPS_HALF)
  if (size !== undefined && size > limits.maxObjectBytes) throw fileTooLarge(limits.maxObjectBytes)
  return mimeType
}

async function linkTo(
  deps: Uploading,
  { id, key }: { id: string; key: string },
  content: Content,
): Promise<UploadLink> {
  const { expiresAt, expiresIn } = await uploadLife(deps, new Date(deps.now()))
  const { url, headers } = await deps.storage.signPut(key, { expiresIn, ...content })
  return { id, key, uploadUrl: url, headers, expiresAt }
}

/** A new link for the pending object of an earlier request with the same key; null when there is none. */
async function linkAgain(
  deps: Uploading,
  userId: string,
  idempotency: Idempotency | undefined,
  content: Content,
): Promise<UploadLink | null> {
  const { repository, limits } = deps
  const first = idempotency && (await earlierPending(repository, userId, idempotency))
  if (!first) return null
  // The statement's own answer decides what is signed: on a store without `once`, a link to an active key could
  // overwrite it.
  const pending = await repository.uploads.extendPending(first.id, limits.uploadUrlSeconds + WRITER_GRACE_SECONDS)
  if (pending === null) return linkAgain(deps, userId, idempotency, content)
  return linkTo(deps, { id: first.id, ...pending }, content)
}

// Half of a picture has the header of a whole one.
const KEEPS_HALF = 'this store keeps uploads that broke off'
