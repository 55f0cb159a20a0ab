/** Statements that move objects to purging, and that end purging ones: claims that replicas share without a leader. */
import { within } from '../../db/connect.ts'
import type { MediaEvent } from '../../events/events.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import { type Context, UPKEEP_LEASE_SECONDS } from './context.ts'

/**
 * A purging row. `linksDead`: no more bytes can arrive, so the row may be deleted after them. `transientKeys`: see
 * `Transients`.
 */
export type PurgingRow = { id: string; key: string; transientKeys: Record<string, number>; linksDead: boolean }

// Claims select ids in a subquery and update by id: with a join, a state that has many rows by now would be read
// whole.

export interface PurgingStatements {
  /**
   * pending → purging, for up to `limit` rows whose upload did not complete within PENDING_SECONDS. Returns how
   * many.
   * @param only `tried`: those alone whose bytes were looked for a last time, see `ArrivalStatements`
   */
  expire(limit: number, only: { tried: boolean }): Promise<number>
  /** deleted → purging, for up to `limit` rows whose retention time has ended. Returns the events they owe. */
  retire(limit: number): Promise<{ outbox: MediaEvent[] }[]>
  /** Claims up to `limit` due purging rows for a while, longest due first. */
  claim(limit: number): Promise<PurgingRow[]>
  /**
   * Postpones a purging row whose bytes are removed for now, until its links expire, or else until no more bytes can
   * arrive. It counts towards its owner's usage only while a live link still lets anyone begin to send more.
   */
  postpone(id: string): Promise<void>
  /** purging → nothing. False while events are owed or bytes can still arrive. */
  forget(id: string): Promise<boolean>
  /**
   * active, deleted → purging, because the stored bytes are not what the row promises. Null when the row has changed
   * its state, or its bytes are under another key by now.
   */
  giveUp(id: string, key: string): Promise<{ outbox: MediaEvent[] } | null>
}

export function createPurgingStatements(context: Context): PurgingStatements {
  return {
    expire: (limit, only) => expire(context, limit, only),
    retire: (limit) => retire(context, limit),
    claim: (limit) => claim(context, limit),
    postpone: (id) => postpone(context, id),
    forget: (id) => forget(context, id),
    giveUp: (id, key) => giveUp(context, id, key),
  }
}

async function expire(
  { sql, toPurging, seconds, pendingSeconds }: Context,
  limit: number,
  { tried }: { tried: boolean },
): Promise<number> {
  const { count } = await within(sql`
    UPDATE media_objects SET ${toPurging}
    WHERE status = 'pending' AND id = ANY(ARRAY(
      SELECT id FROM media_objects
      WHERE (status = 'pending') IS TRUE AND status_changed_at < now() - ${seconds(pendingSeconds)}
        AND ${tried ? sql`complete_due_at IS NULL AND complete_tries > 0` : sql`true`}
      ORDER BY status_changed_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))`)
  return count
}

async function retire(
  { sql, toPurging, owe, seconds, retentionSeconds }: Context,
  limit: number,
): Promise<{ outbox: MediaEvent[] }[]> {
  return within(sql<{ outbox: MediaEvent[] }[]>`
    UPDATE media_objects SET ${toPurging}, ${owe({ channel: 'photo:purged' })}
    WHERE status = 'deleted' AND id = ANY(ARRAY(
      SELECT id FROM media_objects
      WHERE (status = 'deleted') IS TRUE AND status_changed_at <= now() - ${seconds(retentionSeconds)}
      ORDER BY status_changed_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
    RETURNING outbox`)
}

async function claim({ sql, seconds }: Context, limit: number): Promise<PurgingRow[]> {
  return within(sql<PurgingRow[]>`
    UPDATE media_objects SET upkeep_due_at = now() + ${seconds(UPKEEP_LEASE_SECONDS)}
    WHERE id = ANY(ARRAY(
      SELECT id FROM media_objects WHERE status = 'purging' AND upkeep_due_at <= now()
      ORDER BY upkeep_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
    RETURNING id, storage_key AS key, transient_keys AS "transientKeys", links_until < now() AS "linksDead"`)
}

async function postpone({ sql, seconds }: Context, id: string): Promise<void> {
  const linksEnd = sql`links_until - ${seconds(WRITER_GRACE_SECONDS)}`
  await within(sql`
    UPDATE media_objects
    SET counted = counted AND ${linksEnd} > now(),
      upkeep_due_at = CASE WHEN ${linksEnd} > now() THEN ${linksEnd} ELSE links_until END
    WHERE id = ${id} AND status = 'purging'`)
}

async function forget({ sql }: Context, id: string): Promise<boolean> {
  const { count } = await within(sql`
    DELETE FROM media_objects
    WHERE id = ${id} AND status = 'purging' AND outbox = '[]' AND links_until < now()`)
  return count > 0
}

async function giveUp(
  { sql, toPurging, owe }: Context,
  id: string,
  key: string,
): Promise<{ outbox: MediaEvent[] } | null> {
  const [row] = await within(sql<{ outbox: MediaEvent[] }[]>`
    UPDATE media_objects SET ${toPurging}, ${owe({ channel: 'photo:purged' })}
    WHERE id = ${id} AND storage_key = ${key} AND status IN ('active', 'deleted') RETURNING outbox`)
  return row ?? null
}
