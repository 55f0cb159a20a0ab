/** SQL texts of the gathered statements, each also for a single call. */
import { COLUMNS, HELD, owing, TO_DELETED, TRANSIENTS, without } from './fragments.ts'

/**
 * The calls as rows: `n` numbers a call, `of` is the id of its object. Where a statement reads the table as well, no
 * column has the name of one of the table's.
 */
function callsWith(columns: string): string {
  return `jsonb_to_recordset($1) AS calls (n integer, of uuid, ${columns})`
}

/**
 * True for every call. The planner takes a function for 100 rows, for which it reads all of a small table; by a range of
 * unknown selectivity it expects one row, and looks it up by id. The server keeps a plan while a young table grows, until
 * autovacuum analyzes the table, so a plan that reads all of it costs more with every object.
 */
const FEW = 'n >= 0 AND n < 1000'

/**
 * Changes the rows that the calls ($1) address, where `condition` holds. It waits for no lock: a row for which the
 * condition holds, but that was not changed, is locked by another transaction. So it cannot deadlock, in whichever
 * order it locks. LATERAL with a lock or OFFSET 0, a scalar subquery, few expected calls, and a condition that depends on
 * the call make the planner look up every row by id, whatever its statistics of the table are.
 * @param also a further condition for a change here; a call that does not meet it goes alone
 */
function change(of: { columns: string; condition: string; also?: string; set: string; returning: string }): string {
  return `
    WITH calls AS MATERIALIZED (SELECT * FROM ${callsWith(of.columns)} WHERE ${FEW}),
    mine AS MATERIALIZED (
      SELECT calls.* FROM calls CROSS JOIN LATERAL (
        SELECT FROM media_objects
        WHERE id = of AND ${of.condition} AND ${of.also ?? 'true'} FOR UPDATE SKIP LOCKED) AS locked_row),
    done AS (
      UPDATE media_objects SET ${of.set} FROM mine
      WHERE id = of AND CASE WHEN n >= 0 THEN ${of.condition} END
      RETURNING n AS made, ${of.returning})
    SELECT n, CASE WHEN made IS NULL THEN (
        SELECT true FROM media_objects WHERE id = of AND ${of.condition}) END AS locked, done.*
    FROM calls LEFT JOIN done ON made = n`
}

const CHANGED = `${COLUMNS}, outbox`
const OWNED = '(by IS NULL OR user_id = by)'

// Ordered by owner, because each row locks its owner's usage: one order for all statements avoids deadlocks.
export const INSERT = `
  INSERT INTO media_objects
    (id, user_id, original_name, mime_type, size_bytes, storage_key, visibility, metadata, links_until, complete_due_at,
    hold_seconds)
  SELECT of, "userId", "originalName", "mimeType", "sizeBytes", key, visibility, metadata,
    now() + "linksSeconds" * interval '1 second', now() + "completeInSeconds" * interval '1 second',
    "holdSeconds"
  FROM ${callsWith(`"madeAt" bigint, "userId" uuid, "originalName" text, "mimeType" text, "sizeBytes" bigint,
    key text, visibility text, metadata jsonb, "linksSeconds" integer, "completeInSeconds" integer, "holdSeconds" integer`)}
  WHERE "madeAt" > extract(epoch FROM now() - $2::float8 / 2 * interval '1 second') * 1000
  ORDER BY "userId", of
  RETURNING id`

export const INSERT_ONE = `
  INSERT INTO media_objects
    (id, user_id, original_name, mime_type, size_bytes, storage_key, visibility, metadata, links_until, complete_due_at,
    hold_seconds)
  SELECT $1, $2, $3, $4, $5::bigint, $6, $7, $8, now() + $9::integer * interval '1 second',
    now() + $10::integer * interval '1 second', $11::integer
  WHERE $12::bigint > extract(epoch FROM now() - $13::float8 / 2 * interval '1 second') * 1000
  RETURNING id`

const ACTIVATION = (size: string, dimensions: string, channel: string, fields: string) =>
  `status = 'active', status_changed_at = now(), size_bytes = ${size}, metadata = ${dimensions}, ${HELD}, ${owing(channel, fields)}`
export const ACTIVATE = change({
  columns: 'size bigint, dimensions jsonb, channel text, fields jsonb',
  condition: "status = 'pending'",
  // Another size changes the owner's usage, and would wait for the lock on that.
  also: 'size_bytes = size',
  set: ACTIVATION('size', 'dimensions', 'channel', 'fields'),
  returning: CHANGED,
})
export const ACTIVATE_ONE = `
  UPDATE media_objects SET ${ACTIVATION('$2', '$3', '$4::text', '$5::jsonb')}
  WHERE id = $1 AND status = 'pending'
  RETURNING ${CHANGED}`

const REMOVAL = `${TO_DELETED}, ${owing("'photo:deleted'", "'{}'::jsonb")}`
export const REMOVE = change({
  columns: 'by uuid',
  condition: `status = 'active' AND ${OWNED}`,
  set: REMOVAL,
  returning: `outbox, ${TRANSIENTS}`,
})
export const REMOVE_ONE = `
  UPDATE media_objects SET ${REMOVAL}
  WHERE id = $1 AND status = 'active' AND ($2::uuid IS NULL OR user_id = $2::uuid)
  RETURNING outbox, ${TRANSIENTS}`

export const SETTLE = change({
  columns: 'given jsonb',
  // Not by `outbox_due_at`, whose index has all owing rows: every call would read all of it.
  condition: "outbox <> '[]'",
  set: without('given'),
  returning: 'true AS settled',
})
export const SETTLE_ONE = `UPDATE media_objects SET ${without('$2::jsonb')} WHERE id = $1 AND outbox <> '[]'`

const VIEWED = (of: string, by: string, every: string, more: string) => `
  SELECT ${COLUMNS}, coalesce(${every} OR user_id = ${by}, false) AS own ${more} FROM media_objects
  WHERE id = ${of} AND status = 'active' AND (visibility = 'public' OR ${every} OR user_id = ${by})`
const VIEWED_EACH = (more: string) => `
  SELECT n, found.* FROM ${callsWith('by uuid, every boolean, version text')}
  CROSS JOIN LATERAL (${VIEWED('of', 'by', 'every', more)} OFFSET 0) AS found WHERE ${FEW}`
export const FIND_VISIBLE = VIEWED_EACH('')
export const FIND_VISIBLE_ONE = VIEWED('$1', '$2::uuid', '$3::boolean', '')
const RENDERED = (version: string) => `, renditions, stranger_bytes AS "nonOwnersBytes",
  CASE WHEN decode_version = ${version} THEN decode_outcomes ELSE '{}'::jsonb END AS outcomes,
  extract(epoch FROM now())::float8 AS now`
export const FIND_RENDERED = VIEWED_EACH(RENDERED('version'))
export const FIND_RENDERED_ONE = VIEWED('$1', '$2::uuid', '$3::boolean', RENDERED('$4'))

export const FIND_OWNED = `
  SELECT n, found.* FROM ${callsWith('by uuid')}
  CROSS JOIN LATERAL (SELECT ${COLUMNS} FROM media_objects WHERE id = of AND ${OWNED} OFFSET 0) AS found WHERE ${FEW}`
export const FIND_OWNED_ONE = `
  SELECT ${COLUMNS} FROM media_objects WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2::uuid)`
