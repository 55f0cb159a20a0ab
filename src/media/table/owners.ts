/** Statements on all objects of one owner. */
import { type Queryable, within } from '../../db/connect.ts'
import type { MediaEvent } from '../../events/events.ts'
import type { Fragments } from './fragments.ts'

/** The usage of an owner: objects in any state, until their bytes are gone for good. */
export type Usage = { bytes: number; objects: number }

export function createOwnerStatements({ sql, fragments }: { sql: Queryable; fragments: Fragments }) {
  const { owe, toPurging } = fragments

  return {
    async usageOf(userId: string): Promise<Usage> {
      const [row] = await within(sql<Usage[]>`SELECT bytes, objects FROM media_usage WHERE user_id = ${userId}`)
      return row ?? { bytes: 0, objects: 0 }
    },

    /**
     * active, deleted → purging, for up to `limit` rows of an owner. Returns the events they owe. Both states sort
     * before `pending`, so that the owner's index is read in its order.
     */
    async eraseStored(userId: string, limit: number): Promise<{ outbox: MediaEvent[] }[]> {
      return within(sql<{ outbox: MediaEvent[] }[]>`
        UPDATE media_objects SET ${toPurging}, ${owe({ channel: 'photo:purged' })}
        WHERE status IN ('active', 'deleted') AND id = ANY(ARRAY(
          SELECT id FROM media_objects WHERE user_id = ${userId} AND status < 'pending' ORDER BY status, id
          LIMIT ${limit} FOR UPDATE SKIP LOCKED))
        RETURNING outbox`)
    },

    /** pending → purging, for up to `limit` rows of an owner; they never had an event. Returns how many. */
    async erasePending(userId: string, limit: number): Promise<number> {
      const { count } = await within(sql`
        UPDATE media_objects SET ${toPurging}
        WHERE status = 'pending' AND id = ANY(ARRAY(
          SELECT id FROM media_objects WHERE user_id = ${userId} AND status = 'pending'
          LIMIT ${limit} FOR UPDATE SKIP LOCKED))`)
      return count
    },

    /** How many of an owner's objects are not purging yet, and how many are. */
    async countLeft(userId: string): Promise<{ left: number; purging: number }> {
      const [row] = await within(sql<{ left: number; purging: number }[]>`
        SELECT count(*) FILTER (WHERE status <> 'purging') AS left,
          count(*) FILTER (WHERE status = 'purging') AS purging
        FROM media_objects WHERE user_id = ${userId}`)
      return row ?? { left: 0, purging: 0 }
    },
  }
}
