/** Statements on the positions of the searches for orphans. */
import { within } from '../../db/connect.ts'
import type { Home } from '../object/object.ts'
import { type Context, UPKEEP_LEASE_SECONDS } from './context.ts'

/**
 * Searches for orphans, each held by one replica for a while. `orphans` visits each key once, when it is old enough;
 * `recheck` begins again and again, for bytes that arrived after that.
 */
type Search = `${'orphans in' | 'recheck of'} ${Home}`
/** `oldBefore`: ids created before this (Unix time in milliseconds) have a row now, or never will. */
type SearchTurn = { position: string; oldBefore: number }

export interface SearchStatements {
  /** Takes a search for a while; null when it is not due, or another replica has it. */
  take(search: Search): Promise<SearchTurn | null>
  /**
   * Records the position of a search. `again`: in how many seconds its next part is due; undefined while this part
   * goes on. The position never goes back, except to '', the beginning.
   */
  move(search: Search, position: string, again?: number): Promise<void>
}

export function createSearchStatements(context: Context): SearchStatements {
  return {
    take: (search) => take(context, search),
    move: (search, position, again) => move(context, search, position, again),
  }
}

async function take({ sql, seconds, oldBefore }: Context, search: Search): Promise<SearchTurn | null> {
  const [row] = await within(sql<SearchTurn[]>`
    UPDATE media_upkeep SET taken_until = now() + ${seconds(UPKEEP_LEASE_SECONDS)}
    WHERE job = ${search} AND taken_until <= now() RETURNING position, ${oldBefore}`)
  return row ?? null
}

async function move({ sql, seconds }: Context, search: Search, position: string, again?: number): Promise<void> {
  await within(sql`
    UPDATE media_upkeep
    SET position = CASE WHEN ${position} = '' THEN '' ELSE greatest(position, ${position}) END,
      taken_until = now() + ${seconds(again ?? UPKEEP_LEASE_SECONDS)}
    WHERE job = ${search}`)
}
