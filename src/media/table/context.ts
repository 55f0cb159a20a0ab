/** What the statements are made of: the connection, the settings, and the fragments that they share. */
import type { Fragment, Queryable } from '../../db/connect.ts'
import { areLimited, type Quotas } from '../object/quota.ts'
import { createFragments, type Fragments } from './fragments.ts'

export type TableSettings = { sql: Queryable; pendingSeconds: number; retentionSeconds: number; quotas: Quotas }

export type Context = Fragments & {
  sql: Queryable
  pendingSeconds: number
  retentionSeconds: number
  /** Whether owners have quotas. */
  limited: boolean
  /** The column `oldBefore`, see `SearchTurn`. */
  oldBefore: Fragment
}

/** Longer than upkeep needs for one batch of claims. */
export const UPKEEP_LEASE_SECONDS = 60

export function createContext({ sql, pendingSeconds, retentionSeconds, quotas }: TableSettings): Context {
  const fragments = createFragments(sql, quotas)
  const oldBefore = sql`floor((${fragments.epoch} - ${pendingSeconds}) * 1000)::float8 AS "oldBefore"`
  return { ...fragments, sql, pendingSeconds, retentionSeconds, limited: areLimited(quotas), oldBefore }
}
