/** The statements of uploads in parts, and of giving an upload up. */
import type { Caller } from '../../auth/caller.ts'
import { type Queryable, within } from '../../db/connect.ts'
import type { Fragments } from './fragments.ts'

/** An upload in parts. */
export type UploadRow = { key: string; uploadId: string; sizeBytes: number }
/** `partSize`: of every part but the last, in bytes; null before there was a link to one. */
export type PendingUpload = UploadRow & { partSize: number | null }

type Settings = { sql: Queryable; fragments: Fragments; pendingSeconds: number }

export function createMultipartStatements({ sql, fragments, pendingSeconds }: Settings) {
  const { ownedBy, seconds, toPurging } = fragments

  return {
    /**
     * Writes the store's upload id on the row, unless it has one, which it keeps: then that one is returned. With it,
     * until when the upload may be under way. Null when the object is not pending (any more).
     */
    async keepUploadId(id: string, uploadId: string): Promise<{ uploadId: string; expiresAt: Date } | null> {
      const [row] = await within(sql<{ uploadId: string; expiresAt: Date }[]>`
        UPDATE media_objects SET upload_id = coalesce(upload_id, ${uploadId})
        WHERE id = ${id} AND status = 'pending'
        RETURNING upload_id AS "uploadId", created_at + ${seconds(pendingSeconds)} AS "expiresAt"`)
      return row ?? null
    },

    /** Lets the row outlive links to parts that are made anew. Null unless it is the caller's and is under way. */
    async extendUpload(id: string, caller: Caller, linksSeconds: number): Promise<PendingUpload | null> {
      const [row] = await within(sql<PendingUpload[]>`
        UPDATE media_objects SET links_until = greatest(links_until, now() + ${seconds(linksSeconds)})
        WHERE id = ${id} AND ${ownedBy(caller)} AND status = 'pending' AND upload_id IS NOT NULL
        RETURNING storage_key AS key, upload_id AS "uploadId", size_bytes AS "sizeBytes", part_size AS "partSize"`)
      return row ?? null
    },

    /** Writes on the row how it is divided into parts, unless that is decided; then as that is. Null as `extendUpload`. */
    async keepPartSize(id: string, partSize: number): Promise<{ partSize: number } | null> {
      const [row] = await within(sql<{ partSize: number }[]>`
        UPDATE media_objects SET part_size = coalesce(part_size, ${partSize})
        WHERE id = ${id} AND status = 'pending' AND upload_id IS NOT NULL
        RETURNING part_size AS "partSize"`)
      return row ?? null
    },

    /** pending → purging, by its owner. Whoever gets the key may remove the bytes; null when it is not pending. */
    async abandonOwned(id: string, caller: Caller): Promise<{ key: string } | null> {
      const [row] = await within(sql<{ key: string }[]>`
        UPDATE media_objects SET ${toPurging}
        WHERE id = ${id} AND ${ownedBy(caller)} AND status = 'pending'
        RETURNING storage_key AS key`)
      return row ?? null
    },
  }
}
