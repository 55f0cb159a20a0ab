/** Statements that compare keys and ids of the store with the table, for the searches for orphans and `reconcile`. */
import { within } from '../../db/connect.ts'
import { wholeOf } from '../../storage/tus.ts'
import { idOf } from '../object/object.ts'
import type { Renditions } from '../object/places.ts'
import type { Context } from './context.ts'

/**
 * A key on a row. `settled`: the row promises stored bytes of this size. `copy`: the key of a public copy, whose size
 * no row has.
 */
export type KeyRow = {
  id: string
  key: string
  kind: 'original' | 'copy' | 'rendition'
  sizeBytes: number | null
  settled: boolean
}
export type RenderedRow = KeyRow & { renditions: Renditions }

export interface KeyStatements {
  /** The creation time before which ids are old, by the database's clock; see `SearchTurn`. */
  oldBefore(): Promise<number>
  /** The ids that have a row, in any state. */
  idsWithRow(ids: readonly string[]): Promise<Set<string>>
  /** The keys that some row knows: as an original, a public copy, a rendition, or a piece of a pending tus upload. */
  known(keys: readonly string[]): Promise<Set<string>>
  /** Up to `limit` originals and public copies, in the byte order of their keys, after one. */
  after(key: string, limit: number): Promise<RenderedRow[]>
  /** Whether the object is active or soft-deleted, so that its row promises stored bytes. */
  isSettled(id: string): Promise<boolean>
}

export function createKeyStatements(context: Context): KeyStatements {
  return {
    oldBefore: () => oldBefore(context),
    idsWithRow: (ids) => idsWithRow(context, ids),
    known: (keys) => known(context, keys),
    after: (key, limit) => after(context, key, limit),
    isSettled: (id) => isSettled(context, id),
  }
}

async function oldBefore(context: Context): Promise<number> {
  const { sql } = context
  const [row] = await within(sql<{ oldBefore: number }[]>`SELECT ${context.oldBefore}`)
  if (row === undefined) throw new Error('a SELECT of one row without it')
  return row.oldBefore
}

async function idsWithRow({ sql }: Context, ids: readonly string[]): Promise<Set<string>> {
  const rows = await within(sql<{ id: string }[]>`SELECT id FROM media_objects WHERE id = ANY(${ids}::uuid[])`)
  return new Set(rows.map(({ id }) => id))
}

async function known({ sql }: Context, keys: readonly string[]): Promise<Set<string>> {
  const asked = [...new Set(keys.flatMap((key) => [key, wholeOf(key)]))]
  const rendered = [...new Set(keys.flatMap((key) => renderedId(key) ?? []))]
  const rows = await within(sql<{ key: string; waits: boolean }[]>`
    SELECT storage_key AS key, status = 'pending' AND tus_metadata IS NOT NULL AS waits
    FROM media_objects WHERE storage_key = ANY(${asked}::varchar[])
    UNION ALL SELECT public_key, false FROM media_objects WHERE public_key = ANY(${asked}::varchar[])
    UNION ALL
    SELECT rendition ->> 'key', false FROM media_objects, jsonb_path_query(renditions, '$.*') AS rendition
    WHERE id = ANY(${rendered}::uuid[])`)
  const found = new Map(rows.map(({ key, waits }) => [key, waits]))
  return new Set(keys.filter((key) => found.has(key) || found.get(wholeOf(key)) === true))
}

async function after({ sql }: Context, key: string, limit: number): Promise<RenderedRow[]> {
  return within(sql<RenderedRow[]>`
    (SELECT id, storage_key AS key, 'original' AS kind, size_bytes AS "sizeBytes",
      status IN ('active', 'deleted') AS settled, renditions
    FROM media_objects WHERE storage_key > ${key} ORDER BY storage_key LIMIT ${limit})
    UNION ALL
    (SELECT id, public_key, 'copy', NULL, false, '{}'
    FROM media_objects WHERE public_key > ${key} ORDER BY public_key LIMIT ${limit})
    ORDER BY key LIMIT ${limit}`)
}

async function isSettled({ sql }: Context, id: string): Promise<boolean> {
  const rows = await within(sql`SELECT 1 FROM media_objects WHERE id = ${id} AND status IN ('active', 'deleted')`)
  return rows.length > 0
}

/** The object's id in a rendition's key. */
function renderedId(key: string): string | undefined {
  return /^[^/]+\/[^/]+\/r\//.test(key) ? idOf(key) : undefined
}
