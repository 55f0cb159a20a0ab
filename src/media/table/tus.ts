/** Statements of tus uploads: the state that the row keeps, and the writer's lease. */
import type { Caller } from '../../auth/caller.ts'
import { within } from '../../db/connect.ts'
import { violates } from '../../db/errors.ts'
import type { UploadRecord } from '../../storage/tus.ts'
import { TUS_LINKS_SECONDS, UPLOAD_LEASE_SECONDS } from '../object/graces.ts'
import { overQuota } from '../object/quota.ts'
import type { Context } from './context.ts'
import { QUOTA } from './fragments.ts'

/** `pending`: bytes are still arriving, or all have arrived and are not inspected yet. */
export type TusUpload = {
  id: string
  key: string
  status: 'pending' | 'active'
  sizeBytes: number | null
  metadata: string
}

/** `gone`: the upload is not pending. */
export type LeaseOutcome = 'taken' | 'held' | 'gone'

export interface TusUploadStatements {
  /** The caller's tus upload, pending or active. */
  find(id: string, caller: Caller): Promise<TusUpload | null>
  /** The record of a pending upload. */
  record(key: string): Promise<UploadRecord | null>
  /** Writes the store's upload id on the row; false when it is not pending. */
  keepUploadId(key: string, uploadId: string): Promise<boolean>
  /**
   * Writes the length of an upload that began without one, once.
   * @throws Problem `quota_exceeded`
   */
  declareSize(key: string, size: number): Promise<boolean>
  /**
   * Takes the lease on an upload, if it is free or has expired. `ask`: tells the holder that another request waits.
   */
  takeLease(key: string, lease: string, options: { ask: boolean }): Promise<LeaseOutcome>
  /** Renews a lease, and returns whether another request waits for its end; null when it is lost. */
  renewLease(key: string, lease: string): Promise<{ wanted: boolean } | null>
  /** Releases a lease, if it is still held. */
  releaseLease(key: string, lease: string): Promise<void>
}

export function createTusUploadStatements(context: Context): TusUploadStatements {
  return {
    find: (id, caller) => find(context, id, caller),
    record: (key) => record(context, key),
    keepUploadId: (key, uploadId) => keepUploadId(context, key, uploadId),
    declareSize: (key, size) => declareSize(context, key, size),
    takeLease: (key, lease, options) => takeLease(context, key, lease, options),
    renewLease: (key, lease) => renewLease(context, key, lease),
    releaseLease: (key, lease) => releaseLease(context, key, lease),
  }
}

async function find({ sql, ownedBy }: Context, id: string, caller: Caller): Promise<TusUpload | null> {
  const [row] = await within(sql<TusUpload[]>`
    SELECT id, storage_key AS key, status, size_bytes AS "sizeBytes", tus_metadata AS metadata
    FROM media_objects
    WHERE id = ${id} AND ${ownedBy(caller)} AND tus_metadata IS NOT NULL AND status IN ('pending', 'active')`)
  return row ?? null
}

async function record({ sql }: Context, key: string): Promise<UploadRecord | null> {
  const [row] = await within(sql<UploadRecord[]>`
    SELECT size_bytes AS size, mime_type AS "contentType", tus_upload_id AS "uploadId", created_at AS "createdAt"
    FROM media_objects WHERE storage_key = ${key} AND tus_metadata IS NOT NULL AND status = 'pending'`)
  return row ?? null
}

async function keepUploadId({ sql }: Context, key: string, uploadId: string): Promise<boolean> {
  const { count } = await within(sql`
    UPDATE media_objects SET tus_upload_id = ${uploadId} WHERE storage_key = ${key} AND status = 'pending'`)
  return count > 0
}

async function declareSize({ sql, withinQuota }: Context, key: string, size: number): Promise<boolean> {
  try {
    const { count } = await within(sql`
      UPDATE media_objects SET size_bytes = ${size}
      WHERE storage_key = ${key} AND status = 'pending' AND size_bytes IS NULL
        AND ${withinQuota(sql`user_id`, { bytes: size, objects: 0 })}`)
    return count > 0
  } catch (error) {
    if (violates(error, QUOTA)) throw overQuota()
    throw error
  }
}

/** The SET clauses by which a writer holds the upload for a while; what it leaves behind is swept later. */
function hold({ sql, seconds, letBytesIn }: Context) {
  return sql`
    upload_lease_until = now() + ${seconds(UPLOAD_LEASE_SECONDS)},
    ${letBytesIn(TUS_LINKS_SECONDS)}`
}

async function takeLease(
  context: Context,
  key: string,
  lease: string,
  { ask }: { ask: boolean },
): Promise<LeaseOutcome> {
  const { sql } = context
  const { count } = await within(sql`
    UPDATE media_objects SET upload_lease = ${lease}, upload_lease_wanted = false, ${hold(context)}
    WHERE storage_key = ${key} AND status = 'pending'
      AND (upload_lease IS NULL OR upload_lease_until <= now())`)
  if (count > 0) return 'taken'
  const rows = ask
    ? await within(sql`
        UPDATE media_objects SET upload_lease_wanted = true
        WHERE storage_key = ${key} AND status = 'pending' RETURNING 1`)
    : await within(sql`SELECT 1 FROM media_objects WHERE storage_key = ${key} AND status = 'pending'`)
  return rows.length > 0 ? 'held' : 'gone'
}

async function renewLease(context: Context, key: string, lease: string): Promise<{ wanted: boolean } | null> {
  const { sql } = context
  const [row] = await within(sql<{ wanted: boolean }[]>`
    UPDATE media_objects SET ${hold(context)}
    WHERE storage_key = ${key} AND status = 'pending' AND upload_lease = ${lease}
    RETURNING upload_lease_wanted AS wanted`)
  return row ?? null
}

async function releaseLease({ sql }: Context, key: string, lease: string): Promise<void> {
  await within(sql`
    UPDATE media_objects SET upload_lease = NULL, upload_lease_until = NULL, upload_lease_wanted = false
    WHERE storage_key = ${key} AND upload_lease = ${lease}`)
}
