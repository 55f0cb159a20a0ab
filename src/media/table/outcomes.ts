/** Statements that record outcomes of decoding. */

import { type Fragment, within } from '../../db/connect.ts'
import type { ProblemCode } from '../../problem.ts'
import type { Dimensions } from '../object/object.ts'
import { MOST_DEAR_TRIES, type Outcomes, type Remembered, WHOLE } from '../object/outcomes.ts'
import { backoff } from './backoff.ts'
import type { Context } from './context.ts'

/** `final`: a retry with the same bytes would fail again, so one try is enough. */
export type Failed = { id: string; source: string; task: string; version: string; code: ProblemCode; final: boolean }

/** A picture with the size on its row. */
type Sized = { id: string; key: string; metadata: Dimensions }
/** Pixels. */
type Size = { width: number; height: number }

// Per picture; the outcome whose retry is due first is evicted.
const MOST_OUTCOMES = 100
const SPREAD_SECONDS = 86_400

export interface OutcomeStatements {
  /**
   * Records a failed task. Returns the outcomes on the row since; null when the object has other bytes now, or is
   * gone.
   */
  note(failed: Failed): Promise<Remembered | null>
  /** The outcomes of this version of the decoders; null when the object is not active. */
  find(id: string, version: string): Promise<Remembered | null>
  /**
   * Clears outcomes of other versions of the decoders on up to `limit` rows, so that the tasks are tried again; those
   * of upkeep are spread over a day. Returns how many rows.
   */
  forget(version: string, limit: number): Promise<number>
  /**
   * Corrects a size that the decoder found to be wrong, unless the row was corrected meanwhile. Renditions made for
   * the wrong size leave the row; links to them live on for `linksSeconds`.
   */
  correctSize(picture: Sized, size: Size, linksSeconds: number): Promise<void>
}

export function createOutcomeStatements(context: Context): OutcomeStatements {
  return {
    note: (failed) => note(context, failed),
    find: (id, version) => find(context, id, version),
    forget: (version, limit) => forget(context, version, limit),
    correctSize: (picture, size, linksSeconds) => correctSize(context, picture, size, linksSeconds),
  }
}

async function note(context: Context, failed: Failed): Promise<Remembered | null> {
  const { sql } = context
  const { id, source, task, version, final } = failed
  const tries: Fragment = final ? sql`${MOST_DEAR_TRIES}::int` : nextTry(context, task, version)
  const [row] = await within(sql<Remembered[]>`
    UPDATE media_objects SET ${noted(context, failed, tries)} ${dueAgain(context, failed, tries)}
    WHERE id = ${id} AND storage_key = ${source} AND status IN ('active', 'deleted')
    RETURNING storage_key AS key, decode_outcomes AS outcomes, extract(epoch FROM now())::float8 AS now`)
  return row ?? null
}

async function find(context: Context, id: string, version: string): Promise<Remembered | null> {
  const { sql } = context
  const [row] = await within(sql<{ key: string; outcomes: Outcomes; now: number }[]>`
    SELECT storage_key AS key, ${known(context, version)} AS outcomes, extract(epoch FROM now())::float8 AS now
    FROM media_objects WHERE id = ${id} AND status = 'active'`)
  return row ?? null
}

async function forget({ sql }: Context, version: string, limit: number): Promise<number> {
  const refused = sql`(decode_version IS NOT NULL OR publish_due_at IS NULL OR publish_due_at = 'infinity'
    OR (placeholder_due_at IS NULL AND mime_type LIKE 'image/%' AND NOT metadata ? 'thumbHash'))`
  // Three ranges of one index, because an inequality is not a range.
  const some = (range: Fragment) => sql`ARRAY(
    SELECT id FROM media_objects WHERE ${refused} AND ${range} LIMIT ${limit} FOR UPDATE SKIP LOCKED)`
  const spread = sql`now() + ${SPREAD_SECONDS}::float8 * abs(hashtext(id::text)::float8 / 2147483648) * interval '1 second'`
  const { count } = await within(sql`
    UPDATE media_objects
    SET decode_version = NULL, decode_outcomes = '{}',
      publish_due_at = coalesce(nullif(publish_due_at, 'infinity'), ${spread}), publish_tries = 0,
      placeholder_due_at = CASE WHEN metadata ? 'thumbHash' THEN NULL
        ELSE coalesce(nullif(placeholder_due_at, 'infinity'), ${spread}) END, placeholder_tries = 0
    WHERE id = ANY(${some(sql`decode_version < ${version}`)} || ${some(sql`decode_version > ${version}`)}
      || ${some(sql`decode_version IS NULL`)})`)
  return count
}

async function correctSize(
  { sql, seconds }: Context,
  { id, key, metadata }: Sized,
  { width, height }: Size,
  linksSeconds: number,
): Promise<void> {
  const linksEnd = sql`now() + ${seconds(linksSeconds)}`
  await within(sql`
    UPDATE media_objects
    SET metadata = metadata || jsonb_build_object('width', ${width}::int, 'height', ${height}::int),
      renditions = '{}', rendition_bytes = 0, stranger_bytes = 0,
      links_until = greatest(links_until, ${linksEnd}), sweep_due_at = least(sweep_due_at, ${linksEnd})
    WHERE id = ${id} AND storage_key = ${key} AND status IN ('active', 'deleted')
      AND (metadata ->> 'width')::int = ${metadata.width} AND (metadata ->> 'height')::int = ${metadata.height}`)
}

/** The SET clauses for when upkeep retries its own tasks for a picture: later, or never with these decoders. */
function dueAgain({ sql }: Context, { task, final }: Failed, tries: Fragment): Fragment {
  const next = sql`CASE WHEN ${final} OR ${tries} >= ${MOST_DEAR_TRIES} THEN 'infinity'
    ELSE now() + ${backoff(sql, tries)} END`
  if (task === WHOLE) return sql`, placeholder_due_at = NULL, publish_due_at = NULL`
  if (task === 'placeholder') return sql`, placeholder_due_at = ${next}`
  return task === 'clean' ? sql`, publish_due_at = ${next}` : sql``
}

/** The outcomes of this version of the decoders. */
export function known({ sql }: Context, version: string): Fragment {
  return sql`(CASE WHEN decode_version = ${version} THEN decode_outcomes ELSE '{}'::jsonb END)`
}

/** The number of the try of a task that has just failed. */
export function nextTry(context: Context, task: string, version: string): Fragment {
  return context.sql`(1 + coalesce((${known(context, version)} #>> ARRAY[${task}::text, 'tries'])::int, 0))`
}

/** The SET clauses that add one outcome, and evict one if there are too many. */
export function noted(
  context: Context,
  { task, version, code, sizeBytes }: Pick<Failed, 'task' | 'version' | 'code'> & { sizeBytes?: number },
  tries: Fragment,
): Fragment {
  const { sql } = context
  const outcomes = known(context, version)
  const size = sizeBytes === undefined ? sql`` : sql`, 'sizeBytes', ${sizeBytes}::bigint`
  const kept = sql`(CASE WHEN (SELECT count(*) FROM jsonb_object_keys(${outcomes})) < ${MOST_OUTCOMES}
    THEN ${outcomes} ELSE ${outcomes} - (SELECT each.name FROM jsonb_each(decode_outcomes) AS each (name, value)
      ORDER BY (each.value ->> 'until')::numeric LIMIT 1) END)`
  return sql`
    decode_version = ${version},
    decode_outcomes = ${kept} || jsonb_build_object(${task}::text, jsonb_build_object('source', storage_key,
      'code', ${code}::text, 'tries', ${tries}, 'until', extract(epoch FROM now() + ${backoff(sql, tries)}) ${size}))`
}
