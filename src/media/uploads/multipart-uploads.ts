/**
 * Uploads in parts: the client sends them straight to the store, in any order and again where one failed; the service
 * begins the upload, signs a link for each part, and puts them together on completion.
 */

import type { Caller } from '../../auth/caller.ts'
import { type ArgumentError, fileTooLarge, notFound, Problem } from '../../problem.ts'
import {
  COMPLETE_DEADLINE_MS,
  MAX_PARTS,
  MIN_PART_BYTES,
  type MultipartStorage,
  type StoredPart,
} from '../../storage/multipart.ts'
import type { Storage } from '../../storage/storage.ts'
import { acceptType } from '../bytes/inspect.ts'
import { tryToRemoveBytes } from '../bytes/remove.ts'
import type { Deps } from '../deps.ts'
import { safeFileName } from '../object/file-name.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { MediaRow, Visibility } from '../object/object.ts'
import type { UploadRow } from '../table/multipart-uploads.ts'
import type { Repository } from '../table/repository.ts'
import { earlierAnnouncement, idempotencyOf } from './idempotency.ts'
import { newId, refusal, tooSlow } from './new-object.ts'

export type MultipartDeclaration = {
  filename: string
  fileType: string
  size: number
  sha256: string | undefined
  visibility: Visibility
  idempotencyKey: string | undefined
}

/** `partSize`: of every part but the last, in bytes. `expiresAt`: until when it may be under way. */
export type MultipartUpload = { id: string; key: string; uploadId: string; partSize: number; expiresAt: Date }

export type PartLink = { partNumber: number; url: string }

export type UppyPart = { partNumber: number; uploadId: string; partSize: number | undefined }

/** `named`: which argument the number is. `divide`: the size of parts for a file of this size. */
type Links = {
  parts: { partNumber: number; named: Pick<ArgumentError, 'argument' | 'index'> }[]
  from: Date
  divide: (size: number) => number
  uploadId?: string
}

/**
 * The size of an upload's parts in bytes: 8 MiB, which loses little when a connection breaks; more for large files, so
 * that there are at most 1,000 parts, which any store lists at once; but at most 1 GiB, so that even 5 TiB stay below
 * the 10,000 parts that S3 takes.
 */
export function partSizeOf(size: number): number {
  return Math.min(1024 * MiB, Math.max(8 * MiB, Math.ceil(size / 1000 / MiB) * MiB))
}

const MiB = 1024 * 1024

/**
 * The size that Uppy gives its parts (`@uppy/aws-s3` 6.3.1), in bytes; it does not say so when it asks for a link.
 * @param asked what the page's `getChunkSize` returns, where it has one
 */
export function uppyPartSizeOf(size: number, asked = 0): number {
  return Math.max(asked, MIN_PART_BYTES, Math.ceil(size / MAX_PARTS))
}

export function createMultipart({ repository, storage, log, now, limits }: Deps) {
  const linksSeconds = limits.uploadUrlSeconds + WRITER_GRACE_SECONDS

  /** The caller's upload in parts, under way or complete. Throws Problem `not_found` or `state_conflict`. */
  async function uploadInParts(id: string, caller: Caller): Promise<UploadRow & { status: 'pending' | 'active' }> {
    const row = await repository.findOwned(id, caller)
    if (row?.status !== 'pending' && row?.status !== 'active') throw notFound()
    const { key, uploadId, sizeBytes, status } = row
    if (uploadId === null || sizeBytes === null) return refuse(id, caller)
    return { key, uploadId, sizeBytes, status }
  }

  /** Why an upload in parts can't go on: for who may know it, else it is not there. */
  async function refuse(id: string, caller: Caller): Promise<never> {
    const row = await repository.findOwned(id, caller)
    if (row?.status === 'active') throw new Problem('state_conflict', 'The upload is complete.')
    if (row?.status === 'pending') throw new Problem('state_conflict', 'This is not an upload in parts.')
    throw notFound()
  }

  /** Gives a pending row its upload, unless it has one. The row is there before, so that no upload is without. */
  async function open(row: { id: string; key: string }, mimeType: string, size: number): Promise<MultipartUpload> {
    const { id, key } = row
    const uploadId = await multipartOf(storage).begin(key, { contentType: mimeType })
    const kept = await repository.keepUploadId(id, uploadId)
    if (kept?.uploadId !== uploadId) await storage.abortUploads(key, { except: kept?.uploadId })
    if (kept === null) throw tooSlow()
    return { id, key, ...kept, partSize: partSizeOf(size) }
  }

  /**
   * Links for parts of one division of the file, which all links of an upload have in common: else their parts could
   * be more than the file together, up to any size.
   */
  async function link(id: string, caller: Caller, { parts, from, divide, uploadId }: Links): Promise<PartLink[]> {
    const row = (await repository.extendUpload(id, caller, linksSeconds)) ?? (await refuse(id, caller))
    if (uploadId !== undefined && row.uploadId !== uploadId) throw notFound()
    const { key, sizeBytes } = row
    // However a file of one part would be divided, that part is all of it.
    const wanted = Math.min(sizeBytes, divide(sizeBytes))
    const kept = row.partSize ?? (await repository.keepPartSize(id, wanted))?.partSize ?? (await refuse(id, caller))
    if (kept !== wanted)
      throw new Problem('state_conflict', `This upload was begun with parts of ${kept} bytes, not of ${wanted}.`)
    const last = Math.ceil(sizeBytes / wanted)
    const beyond = parts.filter(({ partNumber }) => partNumber > last)
    if (beyond.length > 0) {
      const wrong = beyond.map(({ named }) => ({ ...named, message: `expected at most ${last}` }))
      throw new Problem('request_invalid', `The file has ${last} parts of ${wanted} bytes.`, { arguments: wrong })
    }
    const expiresIn = limits.uploadUrlSeconds
    const links = parts.map(async ({ partNumber }) => {
      const size = partNumber < last ? wanted : sizeBytes - (last - 1) * wanted
      const part = { partNumber, size, from, expiresIn }
      return { partNumber, url: await multipartOf(storage).signPart(key, row.uploadId, part) }
    })
    return Promise.all(links)
  }

  return {
    /**
     * Announces an upload in parts and begins it; with an idempotency key, the same one again while it is pending.
     * Throws Problem `media_type_unsupported`, `file_too_large`, `quota_exceeded`, `idempotency_conflict`,
     * `checksum_unenforceable` (S3 has no SHA-256 of a whole object that came in parts), or `state_conflict`: with the
     * id of what was uploaded with this key, or where the store has no uploads in parts.
     */
    async beginMultipart(caller: Caller, declared: MultipartDeclaration): Promise<MultipartUpload> {
      const { idempotencyKey, ...declaration } = declared
      const { filename, size, visibility } = declaration
      multipartOf(storage)
      if (declared.sha256 !== undefined)
        throw new Problem('checksum_unenforceable', 'No store checks the SHA-256 of an upload in parts. Leave it out.')
      const mimeType = acceptType(declared.fileType, limits.allowedTypes)
      if (size > limits.maxObjectBytes) throw fileTooLarge(limits.maxObjectBytes)
      const { userId } = caller
      const idempotency = idempotencyOf(idempotencyKey, 'multipart', declaration)
      const again = async (): Promise<MultipartUpload | null> => {
        const first = idempotency && (await earlierAnnouncement(repository, userId, idempotency))
        if (!first) return null
        if (first.uploadId === null) return open(first, mimeType, size)
        const kept = await repository.keepUploadId(first.id, first.uploadId)
        return kept === null ? again() : { id: first.id, key: first.key, ...kept, partSize: partSizeOf(size) }
      }
      const before = await again()
      if (before) return before

      const object = newId(now(), mimeType)
      const originalName = safeFileName(filename)
      const described = { userId, originalName, mimeType, sizeBytes: size, visibility, metadata: {} }
      const inserted = await repository.insert({ ...object, ...described, linksSeconds, idempotency })
      if (inserted === 'inserted') return open(object, mimeType, size)
      const winner = inserted === 'taken' ? await again() : null
      if (winner) return winner
      throw refusal(inserted)
    },

    /**
     * A link for each part, good for UPLOAD_URL_SECONDS, that takes exactly the bytes this part has by `partSizeOf`.
     * Throws Problem `not_found`, `state_conflict`, or `request_invalid` for a number that the file has no part for.
     */
    async linkParts(id: string, caller: Caller, numbers: number[]): Promise<{ links: PartLink[]; expiresAt: Date }> {
      const from = new Date(now())
      const parts = numbers.map((partNumber, index) => ({ partNumber, named: { argument: 'partNumbers', index } }))
      const links = await link(id, caller, { parts, from, divide: partSizeOf })
      return { links, expiresAt: new Date(from.getTime() + limits.uploadUrlSeconds * 1000) }
    },

    /**
     * A link for one part as Uppy divides the file. Throws the same as `linkParts`.
     * @param part `partSize` is what the page has told Uppy, if it has
     */
    async linkPart(id: string, caller: Caller, part: UppyPart): Promise<string> {
      const { partNumber, partSize, uploadId } = part
      const parts = [{ partNumber, named: { argument: 'partNumber' } }]
      const divide = (size: number) => uppyPartSizeOf(size, partSize)
      const [made] = await link(id, caller, { parts, from: new Date(now()), divide, uploadId })
      return made?.url ?? ''
    },

    uploadInParts,

    /**
     * What the store has of an upload in parts; null when they are put together already, so that none is to be sent.
     * Throws Problem `not_found`, `state_conflict`, or `upload_incomplete` when the store has dropped the upload.
     */
    async arrivedParts(id: string, caller: Caller): Promise<UploadRow & { parts: StoredPart[] | null }> {
      const { status, ...row } = await uploadInParts(id, caller)
      if (status === 'active') return { ...row, parts: null }
      const parts = await multipartOf(storage).parts(row.key, row.uploadId)
      if (parts === null && (await storage.head(row.key)) === null) throw ended()
      return { ...row, parts }
    },

    /**
     * Gives up an upload that is under way, in parts or over a link: pending → purging. Throws Problem `not_found`,
     * or `state_conflict` when it is complete.
     */
    async abortUpload(id: string, caller: Caller): Promise<void> {
      const row = (await repository.abandonOwned(id, caller)) ?? (await refuse(id, caller))
      await tryToRemoveBytes({ storage, log }, { id, key: row.key })
    },
  }
}

/**
 * Puts the parts of a pending object together, if it came in parts and this was not done yet: that its answer was
 * lost, or that another call does the same, makes no difference. Throws Problem `upload_incomplete`, `size_mismatch`
 * or `not_found`.
 */
export async function assemble(
  { repository, storage }: { repository: Repository; storage: Storage },
  { id, key, uploadId, sizeBytes }: MediaRow,
): Promise<void> {
  if (uploadId === null || (await storage.head(key)) !== null) return
  const multipart = multipartOf(storage)
  const parts = await multipart.parts(key, uploadId)
  if (parts !== null) {
    const arrived = parts.reduce((sum, { size }) => sum + size, 0)
    const counted = `${sizeBytes} bytes were declared, ${arrived} have arrived.`
    if (arrived < (sizeBytes ?? 0)) throw new Problem('upload_incomplete', counted)
    if (arrived !== sizeBytes || parts.length > MAX_PARTS) throw new Problem('size_mismatch', counted)
    await storage.abortUploads(key, { except: uploadId })
    // Putting them together is writing, too, and by now every link may be dead.
    const writing = Math.ceil(COMPLETE_DEADLINE_MS / 1000) + WRITER_GRACE_SECONDS
    if (!(await repository.extendLinks(id, writing))) throw notFound()
    const outcome = await multipart.complete(key, uploadId, parts)
    if (outcome === 'unfit')
      throw new Problem('upload_incomplete', 'A part has changed meanwhile, or one before the last is below 5 MiB.')
    if (outcome !== 'gone') return
  }
  // Another call may have put them together just now.
  if ((await storage.head(key)) === null) throw ended()
}

function multipartOf({ multipart }: Storage): MultipartStorage {
  if (multipart !== undefined) return multipart
  throw new Problem('state_conflict', 'This store takes no uploads in parts: use presign, or upload.')
}

function ended(): Problem {
  return new Problem('upload_incomplete', 'The store has no such upload any more. Start a new one.')
}
