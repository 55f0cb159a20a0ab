/** Statements on placeholders of pictures. */

import { type Fragment, within } from '../../db/connect.ts'
import type { Metadata, Placeholder } from '../object/object.ts'
import { backoff, SOON_SECONDS } from './backoff.ts'
import type { Context } from './context.ts'

/** A picture without a placeholder. `claim`: identifies this try; it holds until the next one is due. */
export type PlaceholderRow = {
  id: string
  key: string
  mimeType: string
  sizeBytes: number
  metadata: Metadata
  claim: string
}

export interface PlaceholderStatements {
  /**
   * Claims the picture whose placeholder has been due for longest; null when there is none. The claim also schedules
   * the next try, so that a try which ends the process counts like any other.
   */
  claim(): Promise<PlaceholderRow | null>
  /** Returns a claim as if it had not been taken: nothing was tried, so no try counts. */
  release(row: PlaceholderRow): Promise<void>
  /** Stores a picture's first placeholder, made under a claim that still holds. False when it does not. */
  keep(row: PlaceholderRow, placeholder: Placeholder): Promise<boolean>
}

export function createPlaceholderStatements(context: Context): PlaceholderStatements {
  return {
    claim: () => claim(context),
    release: (row) => release(context, row),
    keep: (row, placeholder) => keep(context, row, placeholder),
  }
}

async function claim({ sql }: Context): Promise<PlaceholderRow | null> {
  const [row] = await within(sql<PlaceholderRow[]>`
    UPDATE media_objects
    SET placeholder_tries = least(placeholder_tries + 1, 100),
      placeholder_due_at = now() + ${backoff(sql, sql`placeholder_tries + 1`)}
    WHERE id = ANY(ARRAY(
      SELECT id FROM media_objects
      WHERE status = 'active' AND mime_type LIKE 'image/%' AND placeholder_due_at <= now()
      ORDER BY placeholder_due_at LIMIT 1 FOR UPDATE SKIP LOCKED))
    RETURNING id, storage_key AS key, mime_type AS "mimeType", size_bytes AS "sizeBytes", metadata,
      placeholder_due_at::text AS claim`)
  return row ?? null
}

async function release(context: Context, row: PlaceholderRow): Promise<void> {
  const { sql, seconds } = context
  await within(sql`
    UPDATE media_objects
    SET placeholder_tries = greatest(placeholder_tries - 1, 0), placeholder_due_at = now() + ${seconds(SOON_SECONDS)}
    WHERE ${inForce(context, row)}`)
}

async function keep(
  context: Context,
  row: PlaceholderRow,
  { thumbHash, dominantColor }: Placeholder,
): Promise<boolean> {
  const { sql } = context
  const { count } = await within(sql`
    UPDATE media_objects
    SET metadata = jsonb_build_object('thumbHash', ${thumbHash}::text, 'dominantColor', ${dominantColor}::text)
        || metadata,
      placeholder_due_at = NULL
    WHERE ${inForce(context, row)} AND storage_key = ${row.key} AND status IN ('active', 'deleted')`)
  return count > 0
}

function inForce({ sql }: Context, { id, claim }: PlaceholderRow): Fragment {
  return sql`id = ${id} AND placeholder_due_at = ${claim}::text::timestamptz AND placeholder_due_at > now()`
}
