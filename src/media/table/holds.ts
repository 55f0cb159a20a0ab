/** Statements on held objects, which go to the bin unless somebody claims them in time. */
import { within } from '../../db/connect.ts'
import type { MediaEvent } from '../../events/events.ts'
import type { MediaRow, StoredObject } from '../object/object.ts'
import type { Context } from './context.ts'

export interface HoldStatements {
  /**
   * Ends the hold of these objects of one owner, all of which have to be active; null when one is not, and then nothing
   * is changed. Objects that are not held, or no longer, count as well. Two calls with the same ids wait for each other.
   */
  claim(ids: readonly string[], userId: string): Promise<StoredObject[] | null>
  /** The rows of these ids of one owner. */
  find(ids: readonly string[], userId: string): Promise<MediaRow[]>
  /** active → deleted, for up to `limit` rows that nobody has claimed in time. Returns the events they owe. */
  end(limit: number): Promise<{ outbox: MediaEvent[] }[]>
}

export function createHoldStatements(context: Context): HoldStatements {
  return {
    claim: (ids, userId) => claim(context, ids, userId),
    find: (ids, userId) => find(context, ids, userId),
    end: (limit) => end(context, limit),
  }
}

async function claim(
  { sql, columns }: Context,
  ids: readonly string[],
  userId: string,
): Promise<StoredObject[] | null> {
  // Locked in one order, so that claims of the same ids cannot deadlock. All rows are locked before any is changed, and
  // what was counted under the lock stays so.
  const rows = await within(sql<StoredObject[]>`
    WITH wanted AS MATERIALIZED (
      SELECT id FROM media_objects
      WHERE id = ANY(${ids}::uuid[]) AND user_id = ${userId} AND status = 'active' ORDER BY id FOR UPDATE)
    UPDATE media_objects SET expires_at = NULL, hold_seconds = NULL
    WHERE id = ANY(ARRAY(SELECT id FROM wanted)) AND user_id = ${userId} AND status = 'active'
      AND (SELECT count(*) FROM wanted) = ${ids.length}::int
    RETURNING ${columns}`)
  return rows.length === ids.length ? rows : null
}

async function find({ sql, columns }: Context, ids: readonly string[], userId: string): Promise<MediaRow[]> {
  return within(sql<MediaRow[]>`
    SELECT ${columns} FROM media_objects WHERE id = ANY(${ids}::uuid[]) AND user_id = ${userId}`)
}

async function end({ sql, toDeleted, owe }: Context, limit: number): Promise<{ outbox: MediaEvent[] }[]> {
  return within(sql<{ outbox: MediaEvent[] }[]>`
    UPDATE media_objects
    SET ${toDeleted}, ${owe({ channel: 'photo:deleted', fields: { reason: 'unclaimed' } })}
    WHERE status = 'active' AND expires_at <= now() AND id = ANY(ARRAY(
      SELECT id FROM media_objects
      WHERE (status = 'active' AND expires_at IS NOT NULL) IS TRUE AND expires_at <= now()
      ORDER BY expires_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
    RETURNING outbox`)
}
