/** Statements of multipart uploads. */
import type { Caller } from '../../auth/caller.ts'
import { within } from '../../db/connect.ts'
import type { Context } from './context.ts'

/** A multipart upload. */
export type MultipartRow = { key: string; uploadId: string; sizeBytes: number }
/** `partSize`: the size of every part but the last, in bytes; null before the first link to a part. */
type PendingMultipart = MultipartRow & { partSize: number | null }

export interface MultipartUploadStatements {
  /**
   * Writes the store's upload id on the row, unless the row has one. Returns the id on the row, and until when the
   * upload may stay pending. Null when the object is not pending.
   */
  keepUploadId(id: string, uploadId: string): Promise<{ uploadId: string; expiresAt: Date } | null>
  /**
   * Extends the row's life beyond that of new links to parts. Null unless it is the caller's pending multipart
   * upload.
   */
  extend(id: string, caller: Caller, linksSeconds: number): Promise<PendingMultipart | null>
  /**
   * Writes the part size on the row, unless the row has one. Returns the size on the row; null when it is not a
   * pending multipart upload.
   */
  keepPartSize(id: string, partSize: number): Promise<{ partSize: number } | null>
}

export function createMultipartUploadStatements(context: Context): MultipartUploadStatements {
  return {
    keepUploadId: (id, uploadId) => keepUploadId(context, id, uploadId),
    extend: (id, caller, linksSeconds) => extend(context, id, caller, linksSeconds),
    keepPartSize: (id, partSize) => keepPartSize(context, id, partSize),
  }
}

async function keepUploadId(
  { sql, seconds, pendingSeconds }: Context,
  id: string,
  uploadId: string,
): Promise<{ uploadId: string; expiresAt: Date } | null> {
  const [row] = await within(sql<{ uploadId: string; expiresAt: Date }[]>`
    UPDATE media_objects SET upload_id = coalesce(upload_id, ${uploadId})
    WHERE id = ${id} AND status = 'pending'
    RETURNING upload_id AS "uploadId", created_at + ${seconds(pendingSeconds)} AS "expiresAt"`)
  return row ?? null
}

async function extend(
  { sql, seconds, ownedBy }: Context,
  id: string,
  caller: Caller,
  linksSeconds: number,
): Promise<PendingMultipart | null> {
  const [row] = await within(sql<PendingMultipart[]>`
    UPDATE media_objects SET links_until = greatest(links_until, now() + ${seconds(linksSeconds)})
    WHERE id = ${id} AND ${ownedBy(caller)} AND status = 'pending' AND upload_id IS NOT NULL
    RETURNING storage_key AS key, upload_id AS "uploadId", size_bytes AS "sizeBytes", part_size AS "partSize"`)
  return row ?? null
}

async function keepPartSize({ sql }: Context, id: string, partSize: number): Promise<{ partSize: number } | null> {
  const [row] = await within(sql<{ partSize: number }[]>`
    UPDATE media_objects SET part_size = coalesce(part_size, ${partSize})
    WHERE id = ${id} AND status = 'pending' AND upload_id IS NOT NULL
    RETURNING part_size AS "partSize"`)
  return row ?? null
}
