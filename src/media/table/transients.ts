/**
 * Statements on transient keys. Re-keying reserves its key on the row before it sends bytes there, and a statement that
 * takes a key from the object lists it in the same change. So every such key is on the row, and upkeep removes exactly
 * those.
 */
import { type Fragment, within } from '../../db/connect.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { StoredObject } from '../object/object.ts'
import type { Transients } from '../object/transients.ts'
import type { Context } from './context.ts'

// Longer than the removal of a few objects takes.
const LEASE_SECONDS = 30

/** A row with transient keys. */
type TransientRow = { id: string } & Transients

export interface TransientStatements {
  /** Reserves a key before bytes of an object are copied there. False when the object is purging. */
  reserve(id: string, to: string, leaseSeconds: number): Promise<boolean>
  /** Reserves a key for a public copy. False when the object is no longer public, or was re-keyed. */
  reservePublicCopy(object: StoredObject, to: string, leaseSeconds: number): Promise<boolean>
  /** Claims up to `limit` rows with transient keys to remove, for a while. */
  claim(limit: number): Promise<TransientRow[]>
  /**
   * Drops the keys whose bytes were removed, as of a moment. Keys under which bytes can still arrive stay, and are
   * due when that ends; until then, those that must not become the object's are due again soon as well.
   */
  drop(id: string, keys: readonly string[], asOf: string): Promise<void>
}

export function createTransientStatements(context: Context): TransientStatements {
  return {
    reserve: (id, to, leaseSeconds) => reserve(context, id, to, leaseSeconds),
    reservePublicCopy: (object, to, leaseSeconds) => reservePublicCopy(context, object, to, leaseSeconds),
    claim: (limit) => claim(context, limit),
    drop: (id, keys, asOf) => drop(context, id, keys, asOf),
  }
}

async function reserve(context: Context, id: string, to: string, leaseSeconds: number): Promise<boolean> {
  const { sql } = context
  const { count } = await within(sql`
    UPDATE media_objects SET ${reservation(context, to, leaseSeconds)} WHERE id = ${id} AND status <> 'purging'`)
  return count > 0
}

async function reservePublicCopy(
  context: Context,
  { id, key }: StoredObject,
  to: string,
  leaseSeconds: number,
): Promise<boolean> {
  const { sql } = context
  const { count } = await within(sql`
    UPDATE media_objects SET ${reservation(context, to, leaseSeconds)}
    WHERE id = ${id} AND status = 'active' AND visibility = 'public' AND storage_key = ${key}`)
  return count > 0
}

async function claim({ sql, seconds, transients }: Context, limit: number): Promise<TransientRow[]> {
  return within(sql<TransientRow[]>`
    UPDATE media_objects SET transient_due_at = now() + ${seconds(LEASE_SECONDS)}
    WHERE id = ANY(ARRAY(
      SELECT id FROM media_objects WHERE transient_due_at <= now()
      ORDER BY transient_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
    RETURNING id, ${transients}`)
}

async function drop({ sql, epoch }: Context, id: string, keys: readonly string[], asOf: string): Promise<void> {
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
}

/** The SET clauses that reserve a key; after `leaseSeconds` it can no longer become the object's. */
function reservation({ sql, epoch, seconds, letBytesIn }: Context, to: string, leaseSeconds: number): Fragment {
  return sql`
    transient_keys = transient_keys || jsonb_build_object(${to}::text, ${epoch} + ${leaseSeconds}),
    transient_due_at = least(transient_due_at, now() + ${seconds(leaseSeconds)}),
    ${letBytesIn(leaseSeconds + WRITER_GRACE_SECONDS)}`
}
