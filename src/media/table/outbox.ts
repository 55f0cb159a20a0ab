/** Statements on the outboxes of the rows: the relay claims the rows that owe events, and settles what it has sent. */
import { within } from '../../db/connect.ts'
import type { MediaEvent } from '../../events/events.ts'
import type { Context } from './context.ts'
import type { GatheredContext } from './gathered.ts'
import { hasShapes, mended } from './shapes.ts'

/** A row that owes events. */
export type OwingRow = { id: string; outbox: MediaEvent[] }

const LEASE_SECONDS = 10

export interface OutboxStatements {
  /** Removes exactly these events from their rows' outboxes; events added meanwhile stay, and are due at once. */
  settle(events: readonly MediaEvent[]): Promise<void>
  /** Repairs up to `limit` rows that the relay would claim. Returns how many. */
  mend(limit: number): Promise<number>
  /**
   * Sets a row aside whose events cannot be sent, so that the relay skips it; they stay owed until an operator makes
   * them due, or the next change of the object does. Works for a row of any shapes.
   */
  setAside(id: string): Promise<void>
  /** Makes all rows due that were set aside. Returns how many. */
  resume(): Promise<number>
  /** Claims up to `limit` rows whose events are due, for the relay; other replicas leave them alone for a while. */
  claim(limit: number): Promise<OwingRow[]>
}

export function createOutboxStatements(context: GatheredContext): OutboxStatements {
  return {
    settle: (events) => settle(context, events),
    mend: (limit) => mend(context, limit),
    setAside: (id) => setAside(context, id),
    resume: () => resume(context),
    claim: (limit) => claim(context, limit),
  }
}

async function settle({ gathered }: GatheredContext, events: readonly MediaEvent[]): Promise<void> {
  const sent = Map.groupBy(events, ({ payload }) => payload.id)
  const eventIds = (of: MediaEvent[]) => of.map(({ payload }) => payload.eventId)
  await Promise.all([...sent].map(([id, of]) => gathered.settle({ id, sent: eventIds(of) })))
}

async function mend(context: Context, limit: number): Promise<number> {
  const { sql } = context
  const { count } = await within(sql`
    UPDATE media_objects SET ${mended(context)}
    WHERE id = ANY(ARRAY(
      SELECT id FROM media_objects WHERE outbox_due_at <= now() AND NOT ${hasShapes(sql)}
      ORDER BY outbox_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))`)
  return count
}

async function setAside(context: Context, id: string): Promise<void> {
  const { sql } = context
  await within(sql`
    UPDATE media_objects SET ${mended(context, sql`'infinity'::timestamptz`)} WHERE id = ${id} AND outbox_due_at IS NOT NULL`)
}

async function resume({ sql }: Context): Promise<number> {
  const { count } = await within(sql`
    UPDATE media_objects SET outbox_due_at = now() WHERE outbox_due_at = 'infinity'`)
  return count
}

async function claim({ sql, seconds }: Context, limit: number): Promise<OwingRow[]> {
  return within(sql<OwingRow[]>`
    UPDATE media_objects SET outbox_due_at = now() + ${seconds(LEASE_SECONDS)}
    WHERE id = ANY(ARRAY(
      SELECT id FROM media_objects WHERE outbox_due_at <= now()
      ORDER BY outbox_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
    RETURNING id, outbox`)
}
