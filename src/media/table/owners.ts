/** Statements on all objects of one owner. */
import { within } from '../../db/connect.ts'
import type { MediaEvent } from '../../events/events.ts'
import type { Context } from './context.ts'

/** The usage of an owner: objects in any state, until their bytes are gone for good. */
export type Usage = { bytes: number; objects: number }

export interface OwnerStatements {
  /** The usage of an owner, in bytes and objects. */
  usage(userId: string): Promise<Usage>
  /**
   * active, deleted → purging, for up to `limit` rows of an owner. Returns the events they owe. Both states sort
   * before `pending`, so that the owner's index is read in its order.
   */
  eraseStored(userId: string, limit: number): Promise<{ outbox: MediaEvent[] }[]>
  /** pending → purging, for up to `limit` rows of an owner; they never had an event. Returns how many. */
  erasePending(userId: string, limit: number): Promise<number>
  /** How many of an owner's objects are not purging yet, and how many are. */
  countLeft(userId: string): Promise<{ left: number; purging: number }>
}

export function createOwnerStatements(context: Context): OwnerStatements {
  return {
    usage: (userId) => usage(context, userId),
    eraseStored: (userId, limit) => eraseStored(context, userId, limit),
    erasePending: (userId, limit) => erasePending(context, userId, limit),
    countLeft: (userId) => countLeft(context, userId),
  }
}

async function usage({ sql }: Context, userId: string): Promise<Usage> {
  const [row] = await within(sql<Usage[]>`SELECT bytes, objects FROM media_usage WHERE user_id = ${userId}`)
  return row ?? { bytes: 0, objects: 0 }
}

async function eraseStored(
  { sql, toPurging, owe }: Context,
  userId: string,
  limit: number,
): Promise<{ outbox: MediaEvent[] }[]> {
  return within(sql<{ outbox: MediaEvent[] }[]>`
    UPDATE media_objects SET ${toPurging}, ${owe({ channel: 'photo:purged' })}
    WHERE status IN ('active', 'deleted') AND id = ANY(ARRAY(
      SELECT id FROM media_objects WHERE user_id = ${userId} AND status < 'pending' ORDER BY status, id
      LIMIT ${limit} FOR UPDATE SKIP LOCKED))
    RETURNING outbox`)
}

async function erasePending({ sql, toPurging }: Context, userId: string, limit: number): Promise<number> {
  const { count } = await within(sql`
    UPDATE media_objects SET ${toPurging}
    WHERE status = 'pending' AND id = ANY(ARRAY(
      SELECT id FROM media_objects WHERE user_id = ${userId} AND status = 'pending'
      LIMIT ${limit} FOR UPDATE SKIP LOCKED))`)
  return count
}

async function countLeft({ sql }: Context, userId: string): Promise<{ left: number; purging: number }> {
  const [row] = await within(sql<{ left: number; purging: number }[]>`
    SELECT count(*) FILTER (WHERE status <> 'purging') AS left,
      count(*) FILTER (WHERE status = 'purging') AS purging
    FROM media_objects WHERE user_id = ${userId}`)
  return row ?? { left: 0, purging: 0 }
}
