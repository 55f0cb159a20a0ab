/** The statements that mend rows whose JSON was stored encoded twice (see src/db/json.ts), and keep it from coming back. */
import { type Queryable, sqlStateOf, within } from '../../db/connect.ts'
import type { Fragments } from './fragments.ts'

/** The constraint that a statement breaks which changes a row of other shapes. */
export const SHAPES = 'media_objects_shapes'
const JOB = 'json shapes'
// Versions that corrupt rows do not name their connections; this is the name that postgres.js gives them.
const OLD_REPLICA = 'postgres.js'
const LEASE_SECONDS = 60
const LOCK_TIMEOUT_MS = 1000

/** `unsuspected`: since its begin no old replica was connected and no row had to be mended. */
export type ShapeSearch = { after: string; unsuspected: boolean }

const FIRST_ID = '00000000-0000-0000-0000-000000000000'

export function createShapeStatements({ sql, fragments }: { sql: Queryable; fragments: Fragments }) {
  const { seconds } = fragments
  const hasShapes = sql`media_has_shapes(metadata, renditions, outbox)`
  const outbox = sql`coalesce(media_mended_outbox(outbox), '[]')`
  const dueAt = sql`coalesce(outbox_due_at, now())`
  /** The SET clauses that mend a row; what can't be mended is kept as it was found, and replaced by nothing. */
  const mended = (due: typeof dueAt) => sql`
    metadata = coalesce(media_mended_object(metadata), '{}'),
    renditions = coalesce(media_mended_object(renditions), '{}'),
    outbox = ${outbox},
    outbox_due_at = CASE WHEN ${outbox} = '[]' THEN NULL ELSE ${due} END,
    unmendable = CASE WHEN media_mended_object(metadata) IS NULL OR media_mended_object(renditions) IS NULL
        OR media_mended_outbox(outbox) IS NULL
      THEN jsonb_build_object('metadata', metadata, 'renditions', renditions, 'outbox', outbox) ELSE unmendable END`

  return {
    /** Mends up to `limit` rows that the relay would claim. Returns how many. */
    async mendOwing(limit: number): Promise<number> {
      const { count } = await within(sql`
        UPDATE media_objects SET ${mended(dueAt)}
        WHERE id = ANY(ARRAY(
          SELECT id FROM media_objects WHERE outbox_due_at <= now() AND NOT ${hasShapes}
          ORDER BY outbox_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))`)
      return count
    },

    /**
     * Takes a row out of the relay's way whose events cannot be sent; they stay owed until an operator makes them due, or
     * the next change of the object does. Works for a row of any shapes.
     */
    async setAside(id: string): Promise<void> {
      await within(sql`
        UPDATE media_objects SET ${mended(sql`'infinity'::timestamptz`)} WHERE id = ${id} AND outbox_due_at IS NOT NULL`)
    },

    /** Makes due what was set aside. Returns how many rows. */
    async resumeSetAside(): Promise<number> {
      const { count } = await within(sql`
        UPDATE media_objects SET outbox_due_at = now() WHERE outbox_due_at = 'infinity'`)
      return count
    },

    /** Takes the search for rows of other shapes for a while; null when another replica has it, or it has ended for good. */
    async takeShapeSearch(): Promise<ShapeSearch | null> {
      const [row] = await within(sql<{ position: string }[]>`
        UPDATE media_upkeep SET taken_until = now() + ${seconds(LEASE_SECONDS)}
        WHERE job = ${JOB} AND taken_until <= now() AND position <> 'over' RETURNING position`)
      if (row === undefined) return null
      const [suspicion, after] = row.position.split(' ')
      if (after !== undefined) return { after, unsuspected: suspicion === 'unsuspected' }
      return { after: FIRST_ID, unsuspected: !(await hasOldReplicas()) }
    },

    /** Mends those of the next `limit` rows that need it. `last`: the id of the last one looked at; null at the end. */
    async mendAfter(after: string, limit: number): Promise<{ last: string | null; mended: number }> {
      const [row] = await within(sql<{ last: string | null; mended: number }[]>`
        WITH looked AS MATERIALIZED (
            SELECT id, ${hasShapes} AS fine FROM media_objects WHERE id > ${after} ORDER BY id LIMIT ${limit}),
          changed AS (
            UPDATE media_objects SET ${mended(dueAt)}
            WHERE id = ANY(ARRAY(SELECT id FROM looked WHERE NOT fine)) AND NOT ${hasShapes} RETURNING 1)
        SELECT (SELECT id FROM looked ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*)::int FROM changed) AS mended`)
      return row ?? { last: null, mended: 0 }
    },

    /** Records how far the search has come, and gives it up for the next to take. Null: from the beginning. */
    async moveShapeSearch(to: ShapeSearch | null): Promise<void> {
      const position = to === null ? '' : `${to.unsuspected ? 'unsuspected' : 'suspected'} ${to.after}`
      await within(sql`UPDATE media_upkeep SET position = ${position}, taken_until = now() WHERE job = ${JOB}`)
    },

    hasOldReplicas,

    /**
     * Has the database hold every row to its shapes from now on: first new ones, without a look at the table, then all,
     * under a lock that stops nobody. False when the table could not be locked in a moment, or the role may not.
     */
    async enforceShapes(): Promise<boolean> {
      try {
        await inTransaction(async (tx) => {
          await tx.unsafe(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`)
          await tx.unsafe(`ALTER TABLE media_objects DROP CONSTRAINT IF EXISTS ${SHAPES}, ADD CONSTRAINT ${SHAPES}
            CHECK (media_has_shapes(metadata, renditions, outbox)) NOT VALID`)
        })
        await sql.unsafe(`ALTER TABLE media_objects VALIDATE CONSTRAINT ${SHAPES}`)
      } catch (error) {
        if (UNABLE.has(sqlStateOf(error) ?? '')) return false
        throw error
      }
      await within(sql`UPDATE media_upkeep SET position = 'over' WHERE job = ${JOB}`)
      return true
    },
  }

  /** Whether a replica is connected that corrupts rows. */
  async function hasOldReplicas(): Promise<boolean> {
    const rows = await within(sql`
      SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = ${OLD_REPLICA} LIMIT 1`)
    return rows.length > 0
  }

  function inTransaction(work: (tx: Queryable) => Promise<void>): Promise<unknown> {
    return 'begin' in sql ? sql.begin(work) : work(sql)
  }
}

// lock_not_available, insufficient_privilege, check_violation
const UNABLE = new Set(['55P03', '42501', '23514'])
