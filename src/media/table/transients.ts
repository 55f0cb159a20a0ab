/**
 * The statements about keys that are not the object's yet, or not any more: a move announces its key before it sends
 * bytes there, and a key that the object loses is written down by the statement that takes it away. So every such key is
 * on the row, and upkeep removes exactly those.
 */
import { type Queryable, within } from '../../db/connect.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { StoredObject } from '../object/object.ts'
import type { Transients } from '../object/transients.ts'
import type { Fragments } from './fragments.ts'

// Longer than the removal of a few objects takes.
const LEASE_SECONDS = 30

/** A row that has such keys. */
export type TransientRow = { id: string } & Transients

export function createTransientStatements({ sql, fragments }: { sql: Queryable; fragments: Fragments }) {
  const { epoch, letBytesIn, seconds, transients } = fragments

  /** Announces a key; nobody can make it the object's after `leaseSeconds`. */
  const announce = (to: string, leaseSeconds: number) => sql`
    transient_keys = transient_keys || jsonb_build_object(${to}::text, ${epoch} + ${leaseSeconds}),
    transient_due_at = least(transient_due_at, now() + ${seconds(leaseSeconds)}),
    ${letBytesIn(leaseSeconds + WRITER_GRACE_SECONDS)}`

  return {
    /** Before bytes of an object go under a further key. False when the object is on its way out. */
    async announceMove(id: string, to: string, leaseSeconds: number): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects SET ${announce(to, leaseSeconds)} WHERE id = ${id} AND status <> 'purging'`)
      return count > 0
    },

    /** The same for a copy that others are to get. False when the object is not public any more, or was moved. */
    async announcePublication({ id, key }: StoredObject, to: string, leaseSeconds: number): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects SET ${announce(to, leaseSeconds)}
        WHERE id = ${id} AND status = 'active' AND visibility = 'public' AND storage_key = ${key}`)
      return count > 0
    },

    /** Claims up to `limit` rows that have keys to remove, for a while. */
    async claimTransients(limit: number): Promise<TransientRow[]> {
      return within(sql<TransientRow[]>`
        UPDATE media_objects SET transient_due_at = now() + ${seconds(LEASE_SECONDS)}
        WHERE id = ANY(ARRAY(
          SELECT id FROM media_objects WHERE transient_due_at <= now()
          ORDER BY transient_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
        RETURNING id, ${transients}`)
    },

    /**
     * The bytes under these keys are removed, as of a moment. Keys where bytes can still arrive stay, and are due when
     * that is over; those that must not become the object's are due again soon, too, for as long as that.
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
