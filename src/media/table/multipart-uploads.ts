/** Statements of multipart uploads, and of aborting an upload. */
import type { Caller } from '../../auth/caller.ts'
import { type Queryable, within } from '../../db/connect.ts'
import type { Fragments } from './fragments.ts'

/** A multipart upload. */
export type UploadRow = { key: string; uploadId: string; sizeBytes: number }
/** `partSize`: the size of every part but the last, in bytes; null before the first link to a part. */
export type PendingUpload = UploadRow & { partSize: number | null }

type Settings = { sql: Queryable; fragments: Fragments; pendingSeconds: number }

export function createMultipartStatements({ sql, fragments, pendingSeconds }: Settings) {
  const { ownedBy, seconds, toPurging } = fragments

  return {
    /**
     * Writes the store's upload id on the row, unless the row has one. Returns the id on the row, and until when the
     * upload may stay pending. Null when the object is not pending.
     */
    async keepUploadId(id: string, uploadId: string): Promise<{ uploadId: string; expiresAt: Date } | null> {
      const [row] = await within(sql<{ uploadId: string; expiresAt: Date }[]>`
        UPDATE media_objects SET upload_id = coalesce(upload_id, ${uploadId})
        WHERE id = ${id} AND status = 'pending'
        RETURNING upload_id AS "uploadId", created_at + ${seconds(pendingSeconds)} AS "expiresAt"`)
      return row ?? null
    },

    /**
     * Extends the row's life beyond that of new links to parts. Null unless it is the caller's pending multipart
     * upload.
     */
    async extendUpload(id: string, caller: Caller, linksSeconds: number): Promise<PendingUpload | null> {
      const [row] = await within(sql<PendingUpload[]>`
        UPDATE media_objects SET links_until = greatest(links_until, now() + ${seconds(linksSeconds)})
        WHERE id = ${id} AND ${ownedBy(caller)} AND status = 'pending' AND upload_id IS NOT NULL
        RETURNING storage_key AS key, upload_id AS "uploadId", size_bytes AS "sizeBytes", part_size AS "partSize"`)
      return row ?? null
    },

    /**
     * Writes the part size on the row, unless the row has one. Returns the size on the row; null when it is not a
     * pending multipart upload.
     */
    async keepPartSize(id: string, partSize: number): Promise<{ partSize: number } | null> {
      const [row] = await within(sql<{ partSize: number }[]>`
        UPDATE media_objects SET part_size = coalesce(part_size, ${partSize})
        WHERE id = ${id} AND status = 'pending' AND upload_id IS NOT NULL
        RETURNING part_size AS "partSize"`)
      return row ?? null
    },

    /**
     * pending → purging, by its owner. Only the call that gets the key may remove the bytes; null when it is not
     * pending.
     */
    async abandonOwned(id: string, caller: Caller): Promise<{ key: string } | null> {
      const [row] = await within(sql<{ key: string }[]>`
        UPDATE media_objects SET ${toPurging}
        WHERE id = ${id} AND ${ownedBy(caller)} AND status = 'pending'
        RETURNING storage_key AS key`)
      return row ?? null
    },
  }
}
