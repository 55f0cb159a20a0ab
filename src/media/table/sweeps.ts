/** Statements of sweeps, which remove bytes under an object's prefixes that are not its own. */
import { within } from '../../db/connect.ts'
import { type Context, UPKEEP_LEASE_SECONDS } from './context.ts'

/** `claim`: identifies this sweep. */
export type SweepRow = { id: string; claim: string }

export interface SweepStatements {
  /** Makes objects due for a sweep because their prefixes hold bytes that are not theirs; purging ones need none. */
  schedule(ids: readonly string[]): Promise<void>
  /** Claims up to `limit` objects whose prefixes are due for a sweep, for a while. */
  claim(limit: number): Promise<SweepRow[]>
  /**
   * The keys that are, or may become, an object's own; null while bytes can still arrive under its prefixes, and
   * unless it is active or deleted. Keys that were listed before this call and are not in its answer may be removed
   * at any later time: a key is reserved before its bytes arrive, which extends links_until, and no key is used
   * twice.
   */
  ownKeys(id: string): Promise<string[] | null>
  /** Ends a sweep. The next one is due when no more bytes can arrive, if they can now. */
  end(id: string, claim: string): Promise<void>
}

export function createSweepStatements(context: Context): SweepStatements {
  return {
    schedule: (ids) => schedule(context, ids),
    claim: (limit) => claim(context, limit),
    ownKeys: (id) => ownKeys(context, id),
    end: (id, claim) => end(context, id, claim),
  }
}

async function schedule({ sql, sweepSoon }: Context, ids: readonly string[]): Promise<void> {
  await within(sql`
    UPDATE media_objects SET ${sweepSoon}
    WHERE id = ANY(${ids}::uuid[]) AND status IN ('active', 'deleted')`)
}

async function claim({ sql, seconds }: Context, limit: number): Promise<SweepRow[]> {
  return within(sql<SweepRow[]>`
    UPDATE media_objects
    SET sweep_claim = gen_random_uuid(), sweep_claimed_until = now() + ${seconds(UPKEEP_LEASE_SECONDS)}
    WHERE id = ANY(ARRAY(
      SELECT id FROM media_objects
      WHERE sweep_due_at <= now() AND status IN ('active', 'deleted')
        AND (sweep_claimed_until IS NULL OR sweep_claimed_until <= now())
      ORDER BY sweep_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
    RETURNING id, sweep_claim AS claim`)
}

async function ownKeys({ sql, epoch }: Context, id: string): Promise<string[] | null> {
  // Also those of renditions that are being made, unless the claim has expired.
  const renditionKeys = sql`
    SELECT value ->> 'key' FROM jsonb_each(renditions)
    WHERE coalesce((value ->> 'until')::numeric, 'infinity') > ${epoch}`
  const [row] = await within(sql<{ keys: string[] }[]>`
    SELECT storage_key || array_remove(public_key || ARRAY(${renditionKeys})
      || ARRAY(SELECT jsonb_object_keys(transient_keys)), NULL) AS keys
    FROM media_objects WHERE id = ${id} AND status IN ('active', 'deleted') AND links_until < now()`)
  return row?.keys ?? null
}

async function end({ sql }: Context, id: string, claim: string): Promise<void> {
  await within(sql`
    UPDATE media_objects
    SET sweep_due_at = CASE WHEN links_until > now() THEN links_until END,
      sweep_claim = NULL, sweep_claimed_until = NULL
    WHERE id = ${id} AND sweep_claim = ${claim}`)
}
