/** Statements of relay, upkeep and reconcile: claims that several replicas share without a leader. */
import { type Queryable, within } from '../../db/connect.ts'
import type { MediaEvent } from '../../events/events.ts'
import { wholeOf } from '../../storage/tus.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import { type Home, idOf } from '../object/object.ts'
import type { Renditions } from '../object/places.ts'
import type { Fragments } from './fragments.ts'

/**
 * A purging row. `linksDead`: no more bytes can arrive, so the row may be deleted after them. `transientKeys`: see
 * `Transients`.
 */
export type PurgingRow = { id: string; key: string; transientKeys: Record<string, number>; linksDead: boolean }

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

/** A row that owes events. */
export type OwingRow = { id: string; outbox: MediaEvent[] }

/** `claim`: identifies this sweep. */
export type SweepRow = { id: string; claim: string }

/**
 * Searches for orphans, each held by one replica for a while. `orphans` visits each key once, when it is old enough;
 * `recheck` begins again and again, for bytes that arrived after that.
 */
export type Search = `${'orphans in' | 'recheck of'} ${Home}`
/** `oldBefore`: ids created before this (Unix time in milliseconds) have a row now, or never will. */
export type SearchTurn = { position: string; oldBefore: number }

const RELAY_LEASE_SECONDS = 10
// Longer than upkeep needs for one batch of claims.
const UPKEEP_LEASE_SECONDS = 60

type Settings = { sql: Queryable; fragments: Fragments; pendingSeconds: number; retentionSeconds: number }

/** The object's id in a rendition's key. */
const renderedId = (key: string) => (/^[^/]+\/[^/]+\/r\//.test(key) ? idOf(key) : undefined)

export function createUpkeepStatements({ sql, fragments, pendingSeconds, retentionSeconds }: Settings) {
  const { epoch, seconds, owe, sweepSoon, toPurging } = fragments
  const oldBefore = sql`floor((${epoch} - ${pendingSeconds}) * 1000)::float8 AS "oldBefore"`
  // Also those of renditions that are being made, unless the claim has expired.
  const renditionKeys = sql`
    SELECT value ->> 'key' FROM jsonb_each(renditions)
    WHERE coalesce((value ->> 'until')::numeric, 'infinity') > extract(epoch FROM now())`

  // Claims select ids in a subquery and update by id: with a join, a state that has many rows by now would be read
  // whole.
  return {
    /** Claims up to `limit` rows whose events are due, for the relay; other replicas leave them alone for a while. */
    async claimOwed(limit: number): Promise<OwingRow[]> {
      return within(sql<OwingRow[]>`
        UPDATE media_objects SET outbox_due_at = now() + ${seconds(RELAY_LEASE_SECONDS)}
        WHERE id = ANY(ARRAY(
          SELECT id FROM media_objects WHERE outbox_due_at <= now()
          ORDER BY outbox_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
        RETURNING id, outbox`)
    },

    /**
     * pending → purging, for up to `limit` rows whose upload did not complete within PENDING_SECONDS. Returns how many.
     */
    async expire(limit: number): Promise<number> {
      const { count } = await within(sql`
        UPDATE media_objects SET ${toPurging}
        WHERE status = 'pending' AND id = ANY(ARRAY(
          SELECT id FROM media_objects
          WHERE (status = 'pending') IS TRUE AND status_changed_at < now() - ${seconds(pendingSeconds)}
          ORDER BY status_changed_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))`)
      return count
    },

    /** deleted → purging, for up to `limit` rows whose retention time has ended. Returns the events they owe. */
    async retire(limit: number): Promise<{ outbox: MediaEvent[] }[]> {
      return within(sql<{ outbox: MediaEvent[] }[]>`
        UPDATE media_objects SET ${toPurging}, ${owe({ channel: 'photo:purged' })}
        WHERE status = 'deleted' AND id = ANY(ARRAY(
          SELECT id FROM media_objects
          WHERE (status = 'deleted') IS TRUE AND status_changed_at <= now() - ${seconds(retentionSeconds)}
          ORDER BY status_changed_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
        RETURNING outbox`)
    },

    /** Claims up to `limit` due purging rows for a while, longest due first. */
    async claimPurging(limit: number): Promise<PurgingRow[]> {
      return within(sql<PurgingRow[]>`
        UPDATE media_objects SET upkeep_due_at = now() + ${seconds(UPKEEP_LEASE_SECONDS)}
        WHERE id = ANY(ARRAY(
          SELECT id FROM media_objects WHERE status = 'purging' AND upkeep_due_at <= now()
          ORDER BY upkeep_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
        RETURNING id, storage_key AS key, transient_keys AS "transientKeys", links_until < now() AS "linksDead"`)
    },

    /**
     * Postpones a purging row whose bytes are removed for now, until its links expire, or else until no more bytes can
     * arrive. It counts towards its owner's usage only while a live link still lets anyone begin to send more.
     */
    async postpone(id: string): Promise<void> {
      const linksEnd = sql`links_until - ${seconds(WRITER_GRACE_SECONDS)}`
      await within(sql`
        UPDATE media_objects
        SET counted = counted AND ${linksEnd} > now(),
          upkeep_due_at = CASE WHEN ${linksEnd} > now() THEN ${linksEnd} ELSE links_until END
        WHERE id = ${id} AND status = 'purging'`)
    },

    /** purging → nothing. False while events are owed or bytes can still arrive. */
    async forget(id: string): Promise<boolean> {
      const { count } = await within(sql`
        DELETE FROM media_objects
        WHERE id = ${id} AND status = 'purging' AND outbox = '[]' AND links_until < now()`)
      return count > 0
    },

    /** Takes a search for a while; null when it is not due, or another replica has it. */
    async takeSearch(search: Search): Promise<SearchTurn | null> {
      const [row] = await within(sql<SearchTurn[]>`
        UPDATE media_upkeep SET taken_until = now() + ${seconds(UPKEEP_LEASE_SECONDS)}
        WHERE job = ${search} AND taken_until <= now() RETURNING position, ${oldBefore}`)
      return row ?? null
    },

    /**
     * Records the position of a search. `again`: in how many seconds its next part is due; undefined while this part
     * goes on. The position never goes back, except to '', the beginning.
     */
    async moveSearch(search: Search, position: string, again?: number): Promise<void> {
      await within(sql`
        UPDATE media_upkeep
        SET position = CASE WHEN ${position} = '' THEN '' ELSE greatest(position, ${position}) END,
          taken_until = now() + ${seconds(again ?? UPKEEP_LEASE_SECONDS)}
        WHERE job = ${search}`)
    },

    /** The creation time before which ids are old, by the database's clock; see `SearchTurn`. */
    async oldBefore(): Promise<number> {
      const [row] = await within(sql<{ oldBefore: number }[]>`SELECT ${oldBefore}`)
      if (row === undefined) throw new Error('a SELECT of one row without it')
      return row.oldBefore
    },

    /** The ids that have a row, in any state. */
    async idsWithRow(ids: readonly string[]): Promise<Set<string>> {
      const rows = await within(sql<{ id: string }[]>`SELECT id FROM media_objects WHERE id = ANY(${ids}::uuid[])`)
      return new Set(rows.map(({ id }) => id))
    },

    /** Makes objects due for a sweep because their prefixes hold bytes that are not theirs; purging ones need none. */
    async sweepSoon(ids: readonly string[]): Promise<void> {
      await within(sql`
        UPDATE media_objects SET ${sweepSoon}
        WHERE id = ANY(${ids}::uuid[]) AND status IN ('active', 'deleted')`)
    },

    /** Claims up to `limit` objects whose prefixes are due for a sweep, for a while. */
    async claimSweeps(limit: number): Promise<SweepRow[]> {
      return within(sql<SweepRow[]>`
        UPDATE media_objects
        SET sweep_claim = gen_random_uuid(), sweep_claimed_until = now() + ${seconds(UPKEEP_LEASE_SECONDS)}
        WHERE id = ANY(ARRAY(
          SELECT id FROM media_objects
          WHERE sweep_due_at <= now() AND status IN ('active', 'deleted')
            AND (sweep_claimed_until IS NULL OR sweep_claimed_until <= now())
          ORDER BY sweep_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED))
        RETURNING id, sweep_claim AS claim`)
    },

    /**
     * The keys that are, or may become, an object's own; null while bytes can still arrive under its prefixes, and
     * unless it is active or deleted. Keys that were listed before this call and are not in its answer may be removed
     * at any later time: a key is reserved before its bytes arrive, which extends links_until, and no key is used
     * twice.
     */
    async ownKeys(id: string): Promise<string[] | null> {
      const [row] = await within(sql<{ keys: string[] }[]>`
        SELECT storage_key || array_remove(public_key || ARRAY(${renditionKeys})
          || ARRAY(SELECT jsonb_object_keys(transient_keys)), NULL) AS keys
        FROM media_objects WHERE id = ${id} AND status IN ('active', 'deleted') AND links_until < now()`)
      return row?.keys ?? null
    },

    /** Ends a sweep. The next one is due when no more bytes can arrive, if they can now. */
    async endSweep(id: string, claim: string): Promise<void> {
      await within(sql`
        UPDATE media_objects
        SET sweep_due_at = CASE WHEN links_until > now() THEN links_until END,
          sweep_claim = NULL, sweep_claimed_until = NULL
        WHERE id = ${id} AND sweep_claim = ${claim}`)
    },

    /** The keys that some row knows: as an original, a public copy, a rendition, or a piece of a pending tus upload. */
    async knownKeys(keys: readonly string[]): Promise<Set<string>> {
      const asked = [...new Set(keys.flatMap((key) => [key, wholeOf(key)]))]
      const rendered = [...new Set(keys.flatMap((key) => renderedId(key) ?? []))]
      const rows = await within(sql<{ key: string; waits: boolean }[]>`
        SELECT storage_key AS key, status = 'pending' AND tus_metadata IS NOT NULL AS waits
        FROM media_objects WHERE storage_key = ANY(${asked}::varchar[])
        UNION ALL SELECT public_key, false FROM media_objects WHERE public_key = ANY(${asked}::varchar[])
        UNION ALL
        SELECT rendition ->> 'key', false FROM media_objects, jsonb_path_query(renditions, '$.*') AS rendition
        WHERE id = ANY(${rendered}::uuid[])`)
      const known = new Map(rows.map(({ key, waits }) => [key, waits]))
      return new Set(keys.filter((key) => known.has(key) || known.get(wholeOf(key)) === true))
    },

    /** Up to `limit` originals and public copies, in the byte order of their keys, after one. */
    async keysAfter(key: string, limit: number): Promise<RenderedRow[]> {
      return within(sql<RenderedRow[]>`
        (SELECT id, storage_key AS key, 'original' AS kind, size_bytes AS "sizeBytes",
          status IN ('active', 'deleted') AS settled, renditions
        FROM media_objects WHERE storage_key > ${key} ORDER BY storage_key LIMIT ${limit})
        UNION ALL
        (SELECT id, public_key, 'copy', NULL, false, '{}'
        FROM media_objects WHERE public_key > ${key} ORDER BY public_key LIMIT ${limit})
        ORDER BY key LIMIT ${limit}`)
    },

    async isSettled(id: string): Promise<boolean> {
      const rows = await within(sql`SELECT 1 FROM media_objects WHERE id = ${id} AND status IN ('active', 'deleted')`)
      return rows.length > 0
    },

    /**
     * active, deleted → purging, because the stored bytes are not what the row promises. Null when the row has changed
     * its state, or its bytes are under another key by now.
     */
    async giveUp(id: string, key: string): Promise<{ outbox: MediaEvent[] } | null> {
      const [row] = await within(sql<{ outbox: MediaEvent[] }[]>`
        UPDATE media_objects SET ${toPurging}, ${owe({ channel: 'photo:purged' })}
        WHERE id = ${id} AND storage_key = ${key} AND status IN ('active', 'deleted') RETURNING outbox`)
      return row ?? null
    },
  }
}
