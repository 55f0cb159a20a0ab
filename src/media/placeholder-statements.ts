/** The statements about placeholders of pictures. */
import { type Queryable, within } from '../db/connect.ts'
import type { Fragments } from './fragments.ts'
import type { Placeholder } from './object.ts'

/** A picture without a placeholder. */
export type PlaceholderRow = { id: string; key: string; mimeType: string; sizeBytes: number }

// Five tries within half a day: then the store has answered, or nothing will.
const MOST_TRIES = 5
const RETRY_SECONDS = 600
const RETRY_FACTOR = 4

export function createPlaceholderStatements({ sql, fragments }: { sql: Queryable; fragments: Fragments }) {
  const { seconds } = fragments

  return {
    /**
     * Claims the picture whose placeholder has been due for longest; null when there is none. The next try is set here,
     * so that one which ends the process counts like any other.
     */
    async claimPlaceholder(): Promise<PlaceholderRow | null> {
      const [row] = await within(sql<PlaceholderRow[]>`
        UPDATE media_objects
        SET placeholder_tries = placeholder_tries + 1,
          placeholder_due_at = CASE WHEN placeholder_tries + 1 < ${MOST_TRIES}
            THEN now() + ${seconds(RETRY_SECONDS)} * ${RETRY_FACTOR}::float8 ^ placeholder_tries END
        WHERE id = ANY(ARRAY(
          SELECT id FROM media_objects
          WHERE status = 'active' AND mime_type LIKE 'image/%' AND placeholder_due_at <= now()
          ORDER BY placeholder_due_at LIMIT 1 FOR UPDATE SKIP LOCKED))
        RETURNING id, storage_key AS key, mime_type AS "mimeType", size_bytes AS "sizeBytes"`)
      return row ?? null
    },

    /** Keeps a picture's first placeholder; null says that it can't have one. */
    async keepPlaceholder(id: string, placeholder: Placeholder | null): Promise<void> {
      await within(sql`
        UPDATE media_objects SET metadata = ${sql.json(placeholder ?? {})} || metadata, placeholder_due_at = NULL
        WHERE id = ${id} AND status IN ('active', 'deleted')`)
    },
  }
}
