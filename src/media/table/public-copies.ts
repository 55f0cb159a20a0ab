/** Statements on public copies of objects. */

import { type Queryable, within } from '../../db/connect.ts'
import type { ChangedObject, StoredObject } from '../object/object.ts'
import type { Transients } from '../object/transients.ts'
import { backoff, SOON_SECONDS } from './backoff.ts'
import type { Announcement, Fragments } from './fragments.ts'

/** A public object without a public copy. `claim`: identifies this try; it holds until the next one is due. */
export type PublicationRow = StoredObject & { claim: string }

export function createPublicationStatements({ sql, fragments }: { sql: Queryable; fragments: Fragments }) {
  const { columns, changed, seconds, epoch, announced, transients, withdraw, owe } = fragments

  return {
    /**
     * Gives an object the public copy under the reserved key; the key of its previous copy becomes transient. Null when
     * the object is no longer public, was re-keyed, or has got another copy meanwhile; or when making the copy took so
     * long that upkeep may have removed it.
     */
    async publish(
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
          AND public_key IS NOT DISTINCT FROM ${publicKey} AND ${announced(to)}
        RETURNING ${changed}, ${transients}`)
      return row ?? null
    },

    /** Stops upkeep from retrying a copy that the decoders refuse; see `forgetOutcomes`. */
    async refusePublication(id: string): Promise<void> {
      await within(sql`
        UPDATE media_objects SET publish_due_at = 'infinity'
        WHERE id = ${id} AND decode_version IS NOT NULL AND publish_due_at IS NOT NULL`)
    },

    /** Returns a claim as if it had not been taken: nothing was tried, so no try counts. */
    async releasePublication({ id, claim }: Pick<PublicationRow, 'id' | 'claim'>): Promise<void> {
      await within(sql`
        UPDATE media_objects
        SET publish_tries = greatest(publish_tries - 1, 0), publish_due_at = now() + ${seconds(SOON_SECONDS)}
        WHERE id = ${id} AND publish_due_at = ${claim}::text::timestamptz AND publish_due_at > now()
          AND public_key IS NULL`)
    },

    /**
     * Claims the public object whose copy for the CDN has been due for longest; null when there is none. The claim also
     * schedules the next try, so that a try which ends the process counts like any other.
     */
    async claimPublication(): Promise<PublicationRow | null> {
      const [row] = await within(sql<PublicationRow[]>`
        UPDATE media_objects
        SET publish_tries = least(publish_tries + 1, 100), publish_due_at = now() + ${backoff(sql, sql`publish_tries + 1`)}
        WHERE id = ANY(ARRAY(
          SELECT id FROM media_objects
          WHERE status = 'active' AND visibility = 'public' AND public_key IS NULL AND publish_due_at <= now()
          ORDER BY publish_due_at LIMIT 1 FOR UPDATE SKIP LOCKED))
        RETURNING ${columns}, publish_due_at::text AS claim`)
      return row ?? null
    },

    /** Withdraws the public copies of up to `limit` pictures that still have their metadata. Returns how many. */
    async withdrawUncleaned(limit: number): Promise<number> {
      const { count } = await within(sql`
        UPDATE media_objects SET publish_due_at = now(), publish_tries = 0, ${withdraw}
        WHERE id = ANY(ARRAY(
          SELECT id FROM media_objects WHERE mime_type LIKE 'image/%' AND public_key LIKE '%/original.%'
          ORDER BY id LIMIT ${limit} FOR UPDATE SKIP LOCKED))`)
      return count
    },

    /**
     * Up to `limit` objects whose original is in the CDN's home, after a key: versions before migration 0006 moved
     * public originals there.
     */
    async exposedAfter(key: string, limit: number): Promise<StoredObject[]> {
      return within(sql<StoredObject[]>`
        SELECT ${columns} FROM media_objects
        WHERE storage_key > ${key} AND storage_key >= 'public/' AND storage_key < 'public0'
          AND status IN ('active', 'deleted')
        ORDER BY storage_key LIMIT ${limit}`)
    },

    async isPublished(id: string, key: string): Promise<boolean> {
      const rows = await within(sql`SELECT 1 FROM media_objects WHERE id = ${id} AND public_key = ${key}`)
      return rows.length > 0
    },

    /** Clears `public_key` when the copy is missing in the store; the next request makes another. */
    async unpublish(id: string, key: string): Promise<void> {
      await within(sql`
        UPDATE media_objects SET public_key = NULL, publish_due_at = now(), publish_tries = 0
        WHERE id = ${id} AND public_key = ${key}`)
    },

    /**
     * Gives an object the reserved key that its original was copied to; the old key becomes transient. Null when the
     * original was not at the old key any more, or copying took too long.
     */
    async recall({ id, key }: StoredObject, to: string): Promise<Transients | null> {
      const [row] = await within(sql<Transients[]>`
        UPDATE media_objects
        SET storage_key = ${to}, transient_due_at = now(),
          transient_keys = (transient_keys - ${to}::text) || jsonb_build_object(storage_key, ${epoch})
        WHERE id = ${id} AND storage_key = ${key} AND status IN ('active', 'deleted') AND ${announced(to)}
        RETURNING ${transients}`)
      return row ?? null
    },
  }
}
