/** Statements for probes and metrics, at a cost that does not grow with the table. */
import { type Fragment, type Queryable, within } from '../../db/connect.ts'

/**
 * Counts stop at 10,000 objects, which are read in a few milliseconds; ages are in seconds, 0 if there are none.
 * `oldestOwed` is the age of the oldest counted event; the counted events are those that are due first.
 */
export type Backlog = {
  owed: number
  oldestOwed: number
  /** Objects whose events cannot be sent. */
  setAside: number
  pending: number
  oldestPending: number
  deleted: number
  oldestDeleted: number
  purging: number
}

export interface HealthStatements {
  /** The backlog of relay and upkeep. */
  backlog(): Promise<Backlog>
  /**
   * Resolves when the database answers and takes changes. On a standby (`pg_is_in_recovery()`) and on a primary that was
   * made read-only, locking fails (25006), even of no rows, and the pool is replaced.
   */
  check(): Promise<void>
}

export function createHealthStatements({ sql }: { sql: Queryable }): HealthStatements {
  return { backlog: () => backlog(sql), check: () => check(sql) }
}

async function backlog(sql: Queryable): Promise<Backlog> {
  // Each subquery follows the order of an index, which keeps the planner from reading the table instead. No parameters:
  // with an unknown value, the planner cannot tell whether a partial index covers the status, and reads the table after
  // all.
  const most = sql`10000`
  const pending = sql`media_objects WHERE (status = 'pending') IS TRUE ORDER BY status_changed_at`
  const deleted = sql`media_objects WHERE (status = 'deleted') IS TRUE ORDER BY status_changed_at`
  const purging = sql`media_objects WHERE upkeep_due_at IS NOT NULL ORDER BY upkeep_due_at`
  const owing = sql`media_objects WHERE outbox_due_at < 'infinity' ORDER BY outbox_due_at`
  const setAside = sql`media_objects WHERE outbox_due_at = 'infinity' ORDER BY outbox_due_at`
  const count = (rows: Fragment) => sql`(SELECT count(*)::int FROM (SELECT FROM ${rows} LIMIT ${most}) AS counted)`
  const oldest = (rows: Fragment) =>
    sql`coalesce((SELECT extract(epoch FROM now() - status_changed_at)::float8 FROM ${rows} LIMIT 1), 0)`

  const occurred = sql`(outbox -> 0 -> 'payload' ->> 'occurredAt')::timestamptz`
  const [row] = await within<Backlog[]>(sql`
    SELECT
      coalesce(sum(jsonb_array_length(outbox)), 0)::int AS owed,
      coalesce(extract(epoch FROM now() - min(${occurred})), 0)::float8 AS "oldestOwed",
      ${count(setAside)} AS "setAside",
      ${count(pending)} AS pending, ${oldest(pending)} AS "oldestPending",
      ${count(deleted)} AS deleted, ${oldest(deleted)} AS "oldestDeleted",
      ${count(purging)} AS purging
    FROM (SELECT outbox FROM ${owing} LIMIT ${most}) AS first`)
  if (row === undefined) throw new Error('an aggregate without a row')
  return row
}

async function check(sql: Queryable): Promise<void> {
  await within(sql`SELECT FROM media_objects WHERE false FOR UPDATE`)
}
