/** Statements on pending uploads whose bytes may have arrived without a call of `complete`. */
import { type Fragment, within } from '../../db/connect.ts'
import type { MediaRow, UnsettledObject } from '../object/object.ts'
import { pauseAfter } from './backoff.ts'
import { type Context, UPKEEP_LEASE_SECONDS } from './context.ts'

/**
 * A pending row. `tus`: null for other uploads; with the store's id of the upload, if it has one. `claim`: identifies
 * this try; it holds until the next one is due.
 */
export type ArrivingRow = UnsettledObject & { tus: { uploadId: string | null } | null; claim: string }

export interface ArrivalStatements {
  /**
   * Claims up to `limit` pending rows that are due for a look at their bytes, longest due first. The claim counts as a
   * try, so that one which ends the process counts like any other.
   */
  claim(limit: number): Promise<ArrivingRow[]>
  /**
   * Makes up to `limit` rows due that would expire without a look at their bytes: replicas of an earlier version, and
   * those with AUTO_COMPLETE_SECONDS=0, schedule none. Returns how many.
   */
  adopt(limit: number): Promise<number>
  /**
   * Schedules the next look at each of these rows: after a pause that grows, when the upload link ends, and when the row
   * would expire. After that last one there is none, and the row expires; only one that failed is followed by others, up
   * to MOST_TRIES in all. `incomplete`: the look found no bytes, or not all. `failed`: it found nothing out, though the
   * store answers.
   */
  postpone(rows: readonly ArrivingRow[], outcome: 'incomplete' | 'failed'): Promise<void>
  /** Returns a claim as if it had not been taken: the store did not answer, so no try counts, and no row expires. */
  release(row: ArrivingRow): Promise<void>
  /** The row, in whichever state; null when it is gone. */
  find(id: string): Promise<MediaRow | null>
}

const FIRST_PAUSE_SECONDS = 60
// Beyond the longest pause, and so some days.
const MOST_TRIES = 12

export function createArrivalStatements(context: Context): ArrivalStatements {
  return {
    claim: (limit) => claim(context, limit),
    adopt: (limit) => adopt(context, limit),
    postpone: (rows, outcome) => postpone(context, rows, outcome),
    release: (row) => release(context, row),
    find: (id) => find(context, id),
  }
}

async function claim({ sql, columns, seconds }: Context, limit: number): Promise<ArrivingRow[]> {
  return within(sql<ArrivingRow[]>`
    UPDATE media_objects
    SET complete_tries = least(complete_tries + 1, 100), complete_due_at = now() + ${seconds(UPKEEP_LEASE_SECONDS)}
    WHERE status = 'pending' AND id = ANY(ARRAY(
      SELECT id FROM media_objects WHERE status = 'pending' AND complete_due_at <= now()
      ORDER BY complete_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
    RETURNING ${columns}, complete_due_at::text AS claim,
      CASE WHEN tus_metadata IS NOT NULL THEN jsonb_build_object('uploadId', tus_upload_id) END AS tus`)
}

async function adopt({ sql, seconds, pendingSeconds }: Context, limit: number): Promise<number> {
  const { count } = await within(sql`
    UPDATE media_objects SET complete_due_at = now()
    WHERE status = 'pending' AND id = ANY(ARRAY(
      SELECT id FROM media_objects
      WHERE (status = 'pending') IS TRUE AND status_changed_at < now() - ${seconds(pendingSeconds)}
        AND complete_due_at IS NULL AND complete_tries = 0
      ORDER BY status_changed_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))`)
  return count
}

async function postpone(
  context: Context,
  rows: readonly ArrivingRow[],
  outcome: 'incomplete' | 'failed',
): Promise<void> {
  const { sql, seconds, pendingSeconds } = context
  const expiry = sql`status_changed_at + ${seconds(pendingSeconds)}`
  const next = sql`now() + ${pauseAfter(sql, sql`complete_tries`, FIRST_PAUSE_SECONDS)}`
  // `least` ignores NULL.
  await within(sql`
    UPDATE media_objects
    SET complete_due_at = CASE
      WHEN now() < ${expiry} THEN least(${next}, ${expiry}, CASE WHEN links_until > now() THEN links_until END)
      WHEN ${outcome === 'failed'} AND complete_tries < ${MOST_TRIES} THEN ${next} END
    WHERE ${inForce(context, rows)}`)
}

async function release(context: Context, row: ArrivingRow): Promise<void> {
  const { sql, seconds } = context
  await within(sql`
    UPDATE media_objects
    SET complete_tries = greatest(complete_tries - 1, 0), complete_due_at = now() + ${seconds(FIRST_PAUSE_SECONDS)}
    WHERE ${inForce(context, [row])}`)
}

async function find({ sql, columns }: Context, id: string): Promise<MediaRow | null> {
  const [row] = await within(sql<MediaRow[]>`SELECT ${columns} FROM media_objects WHERE id = ${id}`)
  return row ?? null
}

function inForce({ sql }: Context, rows: readonly ArrivingRow[]): Fragment {
  const ids = rows.map(({ id }) => id)
  const claims = [...new Set(rows.map(({ claim }) => claim))]
  // Rows that were claimed together have one claim, and no row gets the same one twice.
  return sql`id = ANY(${ids}::uuid[]) AND status = 'pending'
    AND complete_due_at = ANY(${claims}::varchar[]::timestamptz[])`
}
