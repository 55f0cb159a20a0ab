/** Statements on public copies of objects. */

import { within } from '../../db/connect.ts'
import type { ChangedObject, StoredObject } from '../object/object.ts'
import type { Transients } from '../object/transients.ts'
import { backoff, SOON_SECONDS } from './backoff.ts'
import type { Context } from './context.ts'
import type { Announcement } from './fragments.ts'

/** A public object without a public copy. `claim`: identifies this try; it holds until the next one is due. */
export type UncopiedRow = StoredObject & { claim: string }

export interface PublicCopyStatements {
  /**
   * Gives an object the public copy under the reserved key; the key of its previous copy becomes transient. Null when
   * the object is no longer public, was re-keyed, or has got another copy meanwhile; or when making the copy took so
   * long that upkeep may have removed it.
   */
  keep(object: StoredObject, to: string, event: Announcement | undefined): Promise<(ChangedObject & Transients) | null>
  /** Stops upkeep from retrying a copy that the decoders refuse; see `OutcomeStatements.forget`. */
  refuse(id: string): Promise<void>
  /** Returns a claim as if it had not been taken: nothing was tried, so no try counts. */
  release(row: Pick<UncopiedRow, 'id' | 'claim'>): Promise<void>
  /**
   * Claims the public object whose copy for the CDN has been due for longest; null when there is none. The claim also
   * schedules the next try, so that a try which ends the process counts like any other.
   */
  claim(): Promise<UncopiedRow | null>
  /** Withdraws the public copies of up to `limit` pictures that still have their metadata. Returns how many. */
  withdrawUncleaned(limit: number): Promise<number>
  /**
   * Up to `limit` objects whose original is in the CDN's home, after a key: versions before migration 0006 moved
   * public originals there.
   */
  exposedAfter(key: string, limit: number): Promise<StoredObject[]>
  /** Whether this key is that of the object's public copy. */
  isCurrent(id: string, key: string): Promise<boolean>
  /** Clears `public_key` when the copy is missing in the store; the next request makes another. */
  clear(id: string, key: string): Promise<void>
  /**
   * Gives an object the reserved key that its original was copied to; the old key becomes transient. Null when the
   * original was not at the old key any more, or copying took too long.
   */
  recall(object: StoredObject, to: string): Promise<Transients | null>
}

export function createPublicCopyStatements(context: Context): PublicCopyStatements {
  return {
    keep: (object, to, event) => keep(context, object, to, event),
    refuse: (id) => refuse(context, id),
    release: (row) => release(context, row),
    claim: () => claim(context),
    withdrawUncleaned: (limit) => withdrawUncleaned(context, limit),
    exposedAfter: (key, limit) => exposedAfter(context, key, limit),
    isCurrent: (id, key) => isCurrent(context, id, key),
    clear: (id, key) => clear(context, id, key),
    recall: (object, to) => recall(context, object, to),
  }
}

async function keep(
  { sql, epoch, owe, reserved, changed, transients }: Context,
  { id, key, publicKey }: StoredObject,
  to: string,
  event: Announcement | undefined,
): Promise<(ChangedObject & Transients) | null> {
  const rest = sql`transient_keys - ${to}::text`
  const [row] = await within(sql<(ChangedObject & Transients)[]>`
    UPDATE media_objects
    SET public_key = ${to},
      transient_keys = CASE WHEN public_key IS NULL THEN ${rest}
        ELSE (${rest}) || jsonb_build_object(public_key, ${epoch}) END,
      transient_due_at = CASE WHEN public_key IS NULL THEN transient_due_at ELSE now() END
      ${event === undefined ? sql`` : sql`, ${owe(event)}`}
    WHERE id = ${id} AND status = 'active' AND visibility = 'public' AND storage_key = ${key}
      AND public_key IS NOT DISTINCT FROM ${publicKey} AND ${reserved(to)}
    RETURNING ${changed}, ${transients}`)
  return row ?? null
}

async function refuse({ sql }: Context, id: string): Promise<void> {
  await within(sql`
    UPDATE media_objects SET publish_due_at = 'infinity'
    WHERE id = ${id} AND decode_version IS NOT NULL AND publish_due_at IS NOT NULL`)
}

async function release({ sql, seconds }: Context, { id, claim }: Pick<UncopiedRow, 'id' | 'claim'>): Promise<void> {
  await within(sql`
    UPDATE media_objects
    SET publish_tries = greatest(publish_tries - 1, 0), publish_due_at = now() + ${seconds(SOON_SECONDS)}
    WHERE id = ${id} AND publish_due_at = ${claim}::text::timestamptz AND publish_due_at > now()
      AND public_key IS NULL`)
}

async function claim({ sql, columns }: Context): Promise<UncopiedRow | null> {
  const [row] = await within(sql<UncopiedRow[]>`
    UPDATE media_objects
    SET publish_tries = least(publish_tries + 1, 100), publish_due_at = now() + ${backoff(sql, sql`publish_tries + 1`)}
    WHERE id = ANY(ARRAY(
      SELECT id FROM media_objects
      WHERE status = 'active' AND visibility = 'public' AND public_key IS NULL AND publish_due_at <= now()
      ORDER BY publish_due_at LIMIT 1 FOR UPDATE SKIP LOCKED))
    RETURNING ${columns}, publish_due_at::text AS claim`)
  return row ?? null
}

async function withdrawUncleaned({ sql, withdraw }: Context, limit: number): Promise<number> {
  const { count } = await within(sql`
    UPDATE media_objects SET publish_due_at = now(), publish_tries = 0, ${withdraw}
    WHERE id = ANY(ARRAY(
      SELECT id FROM media_objects WHERE mime_type LIKE 'image/%' AND public_key LIKE '%/original.%'
      ORDER BY id LIMIT ${limit} FOR UPDATE SKIP LOCKED))`)
  return count
}

async function exposedAfter({ sql, columns }: Context, key: string, limit: number): Promise<StoredObject[]> {
  return within(sql<StoredObject[]>`
    SELECT ${columns} FROM media_objects
    WHERE storage_key > ${key} AND storage_key >= 'public/' AND storage_key < 'public0'
      AND status IN ('active', 'deleted')
    ORDER BY storage_key LIMIT ${limit}`)
}

async function isCurrent({ sql }: Context, id: string, key: string): Promise<boolean> {
  const rows = await within(sql`SELECT 1 FROM media_objects WHERE id = ${id} AND public_key = ${key}`)
  return rows.length > 0
}

async function clear({ sql }: Context, id: string, key: string): Promise<void> {
  await within(sql`
    UPDATE media_objects SET public_key = NULL, publish_due_at = now(), publish_tries = 0
    WHERE id = ${id} AND public_key = ${key}`)
}

async function recall(
  { sql, epoch, reserved, transients }: Context,
  { id, key }: StoredObject,
  to: string,
): Promise<Transients | null> {
  const [row] = await within(sql<Transients[]>`
    UPDATE media_objects
    SET storage_key = ${to}, transient_due_at = now(),
      transient_keys = (transient_keys - ${to}::text) || jsonb_build_object(storage_key, ${epoch})
    WHERE id = ${id} AND storage_key = ${key} AND status IN ('active', 'deleted') AND ${reserved(to)}
    RETURNING ${transients}`)
  return row ?? null
}
