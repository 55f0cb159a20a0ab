/** Statements that repair rows whose JSON was stored encoded twice (see src/db/json.ts), and prevent new ones. */
import { type Fragment, type Queryable, within } from '../../db/connect.ts'
import { sqlStateOf } from '../../db/errors.ts'
import type { Context } from './context.ts'

/** The constraint that a statement violates if it changes a row of other shapes. */
export const SHAPES = 'media_objects_shapes'
const JOB = 'json shapes'
// Versions that corrupt rows do not name their connections; this is the default name of postgres.js.
const OLD_REPLICA = 'postgres.js'
const LEASE_SECONDS = 60
const LOCK_TIMEOUT_MS = 1000

/**
 * `unsuspected`: since the search began, no old replica was connected and no row needed repair. `claim`: until when it
 * was taken; it holds until another replica takes the search.
 */
type ShapeSearch = { after: string; unsuspected: boolean; claim: string }

const FIRST_ID = '00000000-0000-0000-0000-000000000000'

export interface ShapeStatements {
  /** Takes the search for rows of other shapes for a while; null when another replica has it, or it has ended for good. */
  takeSearch(): Promise<ShapeSearch | null>
  /** Repairs the next `limit` rows where they need it. `last`: the id of the last row read; null at the end. */
  mendAfter(after: string, limit: number): Promise<{ last: string | null; mended: number }>
  /**
   * Records the position of a search, unless another replica has taken it, and releases it. Null: from the beginning.
   */
  moveSearch(claim: string, to: Omit<ShapeSearch, 'claim'> | null): Promise<void>
  /** Whether a replica is connected whose version corrupts rows. */
  hasOldReplicas(): Promise<boolean>
  /**
   * Makes the database enforce the shapes of every row, and ends the search: first for new rows, without reading the
   * table, then for all, under a lock that blocks no reader or writer. Each of the two steps locks the search's row,
   * so that no other replica begins the same, however long it takes. False when another replica has the search, when
   * the table could not be locked within LOCK_TIMEOUT_MS, when the role lacks the privilege, or when a row has other
   * shapes.
   */
  enforce(claim: string): Promise<boolean>
}

export function createShapeStatements(context: Context): ShapeStatements {
  return {
    takeSearch: () => takeSearch(context),
    mendAfter: (after, limit) => mendAfter(context, after, limit),
    moveSearch: (claim, to) => moveSearch(context, claim, to),
    hasOldReplicas: () => hasOldReplicas(context),
    enforce: (claim) => enforce(context, claim),
  }
}

async function takeSearch(context: Context): Promise<ShapeSearch | null> {
  const { sql, seconds } = context
  // A replica that validates holds the row's lock for as long as that takes, which may be longer than the lease.
  const [row] = await within(sql<{ position: string; claim: string }[]>`
    UPDATE media_upkeep SET taken_until = now() + ${seconds(LEASE_SECONDS)}
    WHERE job = ANY(ARRAY(
      SELECT job FROM media_upkeep WHERE job = ${JOB} AND taken_until <= now() AND position <> 'over'
      FOR UPDATE SKIP LOCKED))
    RETURNING position, taken_until::text AS claim`)
  if (row === undefined) return null
  const { position, claim } = row
  const [suspicion, after] = position.split(' ')
  if (after !== undefined) return { after, unsuspected: suspicion === 'unsuspected', claim }
  return { after: FIRST_ID, unsuspected: !(await hasOldReplicas(context)), claim }
}

async function mendAfter(
  context: Context,
  after: string,
  limit: number,
): Promise<{ last: string | null; mended: number }> {
  const { sql } = context
  const [row] = await within(sql<{ last: string | null; mended: number }[]>`
    WITH looked AS MATERIALIZED (
        SELECT id, ${hasShapes(sql)} AS fine FROM media_objects WHERE id > ${after} ORDER BY id LIMIT ${limit}),
      changed AS (
        UPDATE media_objects SET ${mended(context)}
        WHERE id = ANY(ARRAY(SELECT id FROM looked WHERE NOT fine)) AND NOT ${hasShapes(sql)} RETURNING 1)
    SELECT (SELECT id FROM looked ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*)::int FROM changed) AS mended`)
  return row ?? { last: null, mended: 0 }
}

async function moveSearch(context: Context, claim: string, to: Omit<ShapeSearch, 'claim'> | null): Promise<void> {
  const { sql } = context
  const position = to === null ? '' : `${to.unsuspected ? 'unsuspected' : 'suspected'} ${to.after}`
  await within(sql`
    UPDATE media_upkeep SET position = ${position}, taken_until = now()
    WHERE job = ${JOB} AND ${inForce(sql, claim)}`)
}

async function enforce(context: Context, claim: string): Promise<boolean> {
  try {
    const isAdded = await whileInForce(context, claim, async (tx) => {
      await tx.unsafe(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`)
      await tx.unsafe(`ALTER TABLE media_objects DROP CONSTRAINT IF EXISTS ${SHAPES}, ADD CONSTRAINT ${SHAPES}
            CHECK (media_has_shapes(metadata, renditions, outbox)) NOT VALID`)
    })
    if (!isAdded) return false
    return await whileInForce(context, claim, async (tx) => {
      await tx.unsafe(`ALTER TABLE media_objects VALIDATE CONSTRAINT ${SHAPES}`)
      await tx`UPDATE media_upkeep SET position = 'over' WHERE job = ${JOB}`
    })
  } catch (error) {
    if (UNABLE.has(sqlStateOf(error) ?? '')) return false
    throw error
  }
}

async function hasOldReplicas({ sql }: Context): Promise<boolean> {
  const rows = await within(sql`
    SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = ${OLD_REPLICA} LIMIT 1`)
  return rows.length > 0
}

/** Runs `work` in a transaction that locks the search's row. False when another replica has the search. */
async function whileInForce({ sql }: Context, claim: string, work: (tx: Queryable) => Promise<void>): Promise<boolean> {
  const lockAndWork = async (tx: Queryable) => {
    const rows =
      await tx`SELECT 1 FROM media_upkeep WHERE job = ${JOB} AND ${inForce(tx, claim)} FOR UPDATE SKIP LOCKED`
    if (rows.length > 0) await work(tx)
    return rows.length > 0
  }
  return 'begin' in sql ? sql.begin(lockAndWork) : lockAndWork(sql)
}

function inForce(sql: Queryable, claim: string): Fragment {
  return sql`taken_until = ${claim}::text::timestamptz`
}

export function hasShapes(sql: Queryable): Fragment {
  return sql`media_has_shapes(metadata, renditions, outbox)`
}

/**
 * The SET clauses that repair a row; a value that cannot be repaired is kept in `unmendable`, and replaced by an empty
 * one. `due`: when the events that it owes are due; by default as before.
 */
export function mended({ sql }: Context, due: Fragment = sql`coalesce(outbox_due_at, now())`): Fragment {
  const outbox = sql`coalesce(media_mended_outbox(outbox), '[]')`
  return sql`
    metadata = coalesce(media_mended_object(metadata), '{}'),
    renditions = coalesce(media_mended_object(renditions), '{}'),
    outbox = ${outbox},
    outbox_due_at = CASE WHEN ${outbox} = '[]' THEN NULL ELSE ${due} END,
    unmendable = CASE WHEN media_mended_object(metadata) IS NULL OR media_mended_object(renditions) IS NULL
        OR media_mended_outbox(outbox) IS NULL
      THEN jsonb_build_object('metadata', metadata, 'renditions', renditions, 'outbox', outbox) ELSE unmendable END`
}

// lock_not_available, insufficient_privilege, check_violation
const UNABLE = new Set(['55P03', '42501', '23514'])
