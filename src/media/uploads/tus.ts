/** tus uploads as the domain sees them: a pending object whose bytes come through the service, in any number of pieces. */

import type { Caller } from '../../auth/caller.ts'
import { fileTooLarge, Problem } from '../../problem.ts'
import { piecesPrefix, type UploadRecords } from '../../storage/tus.ts'
import { acceptType } from '../bytes/inspect.ts'
import { REMOVAL_MS } from '../bytes/remove.ts'
import type { Deps } from '../deps.ts'
import { safeFileName } from '../object/file-name.ts'
import { TUS_LINKS_SECONDS } from '../object/graces.ts'
import type { Visibility } from '../object/object.ts'
import { areLimited, sizeRequired } from '../object/quota.ts'
import type { TusUpload } from '../table/tus.ts'
import { newId, refusal } from './new-object.ts'

export type TusDeclaration = {
  filename: string
  fileType: string
  /** Bytes; undefined when the client says later. */
  size: number | undefined
  visibility: Visibility
  /** The Upload-Metadata as it was sent. */
  metadata: string
}

export function createTusUploads({ repository, storage, log, now, limits }: Deps) {
  const records: UploadRecords = {
    load: repository.tusRecord,
    keepUploadId: repository.keepTusUploadId,
    declareSize: repository.declareTusSize,
  }

  const deferrable = !areLimited(limits.quotas)

  return {
    /** Whether a client may say later how long its upload is: not where there are quotas, which count what is said. */
    deferrable,

    /**
     * Announces a tus upload. Throws Problem `media_type_unsupported`, `file_empty`, `file_too_large`,
     * `quota_exceeded`, or `request_invalid` without a size where that can't come later.
     */
    async beginTus(caller: Caller, declared: TusDeclaration): Promise<{ id: string; key: string }> {
      const { filename, fileType, size, visibility, metadata } = declared
      const mimeType = acceptType(fileType, limits.allowedTypes)
      if (size === undefined && !deferrable) throw sizeRequired()
      if (size === 0) throw new Problem('file_empty', 'The file has no bytes.')
      if (size !== undefined && size > limits.maxObjectBytes) throw fileTooLarge(limits.maxObjectBytes)
      const object = newId(now(), mimeType)
      const inserted = await repository.insert({
        ...object,
        userId: caller.userId,
        originalName: safeFileName(filename),
        mimeType,
        sizeBytes: size ?? null,
        visibility,
        metadata: {},
        linksSeconds: TUS_LINKS_SECONDS,
        idempotency: undefined,
        tusMetadata: metadata,
      })
      if (inserted !== 'inserted') throw refusal(inserted)
      return object
    },

    /** The caller's tus upload, under way or become an object; null for anything else. */
    findTus: (id: string, caller: Caller): Promise<TusUpload | null> => repository.findTusUpload(id, caller),

    /** What the stores of tus uploads remember. */
    tusRecords: records,

    /** See `LeaseLocker`. */
    tusLeases: {
      take: repository.takeUploadLease,
      renew: repository.renewUploadLease,
      release: repository.releaseUploadLease,
    },

    /** Removes what lies beside an upload that has become an object, now or with the sweep. */
    async removePieces(key: string): Promise<void> {
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
    },
  }
}
