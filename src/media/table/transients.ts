/**
 * Statements on transient keys. Re-keying reserves its key on the row before it sends bytes there, and a statement that
 * takes a key from the object lists it in the same change. So every such key is on the row, and upkeep removes exactly
 * those.
 */
import { type Queryable, within } from '../../db/connect.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { StoredObject } from '../object/object.ts'
import type { Transients } from '../object/transients.ts'
import type { Fragments } from './fragments.ts'

// Longer than the removal of a few objects takes.
const LEASE_SECONDS = 30

/** A row with transient keys. */
export type TransientRow = { id: string } & Transients

export function createTransientStatements({ sql, fragments }: { sql: Queryable; fragments: Fragments }) {
  const { epoch, letBytesIn, seconds, transients } = fragments

  /** Reserves a key; after `leaseSeconds` it can no longer become the object's. */
  const announce = (to: string, leaseSeconds: number) => sql`
    transient_keys = transient_keys || jsonb_build_object(${to}::text, ${epoch} + ${leaseSeconds}),
    transient_due_at = least(transient_due_at, now() + ${seconds(leaseSeconds)}),
    ${letBytesIn(leaseSeconds + WRITER_GRACE_SECONDS)}`

  return {
    /** Reserves a key before bytes of an object are copied there. False when the object is purging. */
    async announceMove(id: string, to: string, leaseSeconds: number): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects SET ${announce(to, leaseSeconds)} WHERE id = ${id} AND status <> 'purging'`)
      return count > 0
    },

    /** Reserves a key for a public copy. False when the object is no longer public, or was re-keyed. */
    async announcePublication({ id, key }: StoredObject, to: string, leaseSeconds: number): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects SET ${announce(to, leaseSeconds)}
        WHERE id = ${id} AND status = 'active' AND visibility = 'public' AND storage_key = ${key}`)
      return count > 0
    },

    /** Claims up to `limit` rows with transient keys to remove, for a while. */
    async claimTransients(limit: number): Promise<TransientRow[]> {
      return within(sql<TransientRow[]>`
        UPDATE media_objects SET transient_due_at = now() + ${seconds(LEASE_SECONDS)}
        WHERE id = ANY(ARRAY(
          SELECT id FROM media_objects WHERE transient_due_at <= now()
          ORDER BY transient_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
        RETURNING id, ${transients}`)
    },

    /**
     * Drops the keys whose bytes were removed, as of a moment. Keys under which bytes can still arrive stay, and are
     * due when that ends; until then, those that must not become the object's are due again soon as well.
     */
    async endTransients(id: string, keys: readonly string[], asOf: string): Promise<void> {
      const rest = sql`
        SELECT key, value::numeric AS until FROM jsonb_each(transient_keys)
        WHERE NOT (key = ANY(${keys}::varchar[]) AND abs(value::numeric) <= ${asOf}::text::numeric)`
      await within(sql`
        UPDATE media_objects
        SET transient_keys = (SELECT coalesce(jsonb_object_agg(key, until), '{}') FROM (${rest}) AS rest),
          transient_due_at = (
            SELECT to_timestamp(min(CASE WHEN until < 0 THEN least(-until, ${epoch} + ${LEASE_SECONDS}) ELSE until END))
            FROM (${rest}) AS rest)
        WHERE id = ${id}`)
    },
  }
}
