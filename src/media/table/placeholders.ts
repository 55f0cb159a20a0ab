/** Statements on placeholders of pictures. */

import { type Queryable, within } from '../../db/connect.ts'
import type { Metadata, Placeholder } from '../object/object.ts'
import { backoff, SOON_SECONDS } from './backoff.ts'
import type { Fragments } from './fragments.ts'

/** A picture without a placeholder. `claim`: identifies this try; it holds until the next one is due. */
export type PlaceholderRow = {
  id: string
  key: string
  mimeType: string
  sizeBytes: number
  metadata: Metadata
  claim: string
}

export function createPlaceholderStatements({ sql, fragments }: { sql: Queryable; fragments: Fragments }) {
  const { seconds } = fragments
  const inForce = ({ id, claim }: Pick<PlaceholderRow, 'id' | 'claim'>) =>
    sql`id = ${id} AND placeholder_due_at = ${claim}::text::timestamptz AND placeholder_due_at > now()`

  return {
    /**
     * Claims the picture whose placeholder has been due for longest; null when there is none. The claim also schedules
     * the next try, so that a try which ends the process counts like any other.
     */
    async claimPlaceholder(): Promise<PlaceholderRow | null> {
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
    },

    /** Returns a claim as if it had not been taken: nothing was tried, so no try counts. */
    async releasePlaceholder(row: PlaceholderRow): Promise<void> {
      await within(sql`
        UPDATE media_objects
        SET placeholder_tries = greatest(placeholder_tries - 1, 0), placeholder_due_at = now() + ${seconds(SOON_SECONDS)}
        WHERE ${inForce(row)}`)
    },

    /** Stores a picture's first placeholder, made under a claim that still holds. False when it does not. */
    async keepPlaceholder(row: PlaceholderRow, { thumbHash, dominantColor }: Placeholder): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects
        SET metadata = jsonb_build_object('thumbHash', ${thumbHash}::text, 'dominantColor', ${dominantColor}::text)
            || metadata,
          placeholder_due_at = NULL
        WHERE ${inForce(row)} AND storage_key = ${row.key} AND status IN ('active', 'deleted')`)
      return count > 0
    },
  }
}
