/** Statements of uploads: insert the pending row, extend it, activate or abandon it. */
import type { Caller } from '../../auth/caller.ts'
import { within } from '../../db/connect.ts'
import { violates } from '../../db/errors.ts'
import type { Inserted, NewObject } from '../object/new-object.ts'
import type { ChangedObject, Dimensions, MediaRow } from '../object/object.ts'
import type { Context } from './context.ts'
import { type Announcement, HELD, QUOTA } from './fragments.ts'
import type { GatheredContext } from './gathered.ts'

/** `rekeyed`: the key that the bytes were copied to, and the type of the copy, if they were re-keyed. */
type Activation = {
  sizeBytes: number
  metadata: Dimensions
  rekeyed?: { key: string; mimeType: string } | undefined
  event: Announcement
}

export interface UploadStatements {
  /**
   * pending → purging, by its owner. Only the call that gets the key may remove the bytes; null when it is not
   * pending.
   */
  abort(id: string, caller: Caller): Promise<{ key: string } | null>
  /**
   * Inserts the pending row. `stale` when the id is older than half of PENDING_SECONDS by the database's clock: a
   * process that slept must not insert a row whose bytes upkeep may have removed.
   */
  insert(object: NewObject): Promise<Inserted>
  /**
   * The object that an earlier request with this key created, also a purging one; null when there was none, or only
   * one that never became active. `underWay`: that request may still be running, if it takes `attemptSeconds` at
   * most.
   */
  findAttempt(
    userId: string,
    key: string,
    attemptSeconds: number,
  ): Promise<(MediaRow & { hash: string; underWay: boolean }) | null>
  /**
   * Extends a pending row's life beyond that of a new upload link, and returns the key to sign. Null when the row is
   * not pending: nothing may be signed for it.
   */
  extendPending(id: string, linksSeconds: number): Promise<{ key: string } | null>
  /** Extends the row's life beyond that of a write under its prefix; false when the object is purging. */
  extendLinks(id: string, linksSeconds: number): Promise<boolean>
  /** Whether a writer may be at work under the row's prefix. */
  mayBeWritten(id: string): Promise<boolean>
  /**
   * pending → active, with size and dimensions, and the new key and type if the bytes were re-keyed; null when the row
   * is not pending, or re-keying took too long.
   */
  activate(id: string, activation: Activation): Promise<ChangedObject | null>
  /** pending → purging. Only the call that gets true may remove the bytes. */
  abandon(id: string): Promise<boolean>
}

export function createUploadStatements(context: GatheredContext): UploadStatements {
  return {
    abort: (id, caller) => abort(context, id, caller),
    insert: (object) => insert(context, object),
    findAttempt: (userId, key, attemptSeconds) => findAttempt(context, userId, key, attemptSeconds),
    extendPending: (id, linksSeconds) => extendPending(context, id, linksSeconds),
    extendLinks: (id, linksSeconds) => extendLinks(context, id, linksSeconds),
    mayBeWritten: (id) => mayBeWritten(context, id),
    activate: (id, activation) => activate(context, id, activation),
    abandon: (id) => abandon(context, id),
  }
}

async function abort(
  { sql, toPurging, ownedBy }: Context,
  id: string,
  caller: Caller,
): Promise<{ key: string } | null> {
  const [row] = await within(sql<{ key: string }[]>`
    UPDATE media_objects SET ${toPurging}
    WHERE id = ${id} AND ${ownedBy(caller)} AND status = 'pending'
    RETURNING storage_key AS key`)
  return row ?? null
}

async function insert(
  { limited, gathered, sql, seconds, pendingSeconds, withinQuota }: GatheredContext,
  object: NewObject,
): Promise<Inserted> {
  const { idempotency } = object
  if (idempotency === undefined && object.tusMetadata === undefined && !limited) return gathered.insert(object)
  try {
    const { count } = await within(sql`
      INSERT INTO media_objects
        (id, user_id, original_name, mime_type, size_bytes, storage_key, visibility, metadata, links_until,
          complete_due_at, hold_seconds, idempotency_key, idempotency_hash, tus_metadata)
      SELECT ${object.id}, ${object.userId}, ${object.originalName}, ${object.mimeType},
        ${object.sizeBytes}::bigint, ${object.key}, ${object.visibility}, ${sql.json(object.metadata)},
        now() + ${seconds(object.linksSeconds)}, now() + ${object.completeInSeconds}::integer * interval '1 second',
        ${object.holdSeconds ?? null}::integer, ${idempotency?.key ?? null}, ${idempotency?.hash ?? null}, ${object.tusMetadata ?? null}
      WHERE CASE WHEN ${object.madeAt}::bigint > extract(epoch FROM now() - ${seconds(pendingSeconds / 2)}) * 1000
        THEN ${withinQuota(sql`${object.userId}::uuid`, { bytes: object.sizeBytes ?? 0, objects: 1 })} END`)
    return count === 1 ? 'inserted' : 'stale'
  } catch (error) {
    if (violates(error, QUOTA)) return 'over_quota'
    if (violates(error, 'media_objects_idempotency')) return 'taken'
    throw error
  }
}

async function findAttempt(
  { sql, columns, seconds }: Context,
  userId: string,
  key: string,
  attemptSeconds: number,
): Promise<(MediaRow & { hash: string; underWay: boolean }) | null> {
  const attempts = sql`
    SELECT ${columns}, idempotency_hash AS hash,
      status = 'pending' AND created_at > now() - ${seconds(attemptSeconds)} AS "underWay"
    FROM media_objects WHERE user_id = ${userId} AND idempotency_key = ${key}`
  // Two SELECTs, because each uses one of the two partial indexes.
  const [row] = await within(sql<(MediaRow & { hash: string; underWay: boolean })[]>`
    (${attempts} AND status <> 'purging') UNION ALL (${attempts} AND status = 'purging' AND event_seq > 0)
    LIMIT 1`)
  return row ?? null
}

async function extendPending(
  { sql, seconds }: Context,
  id: string,
  linksSeconds: number,
): Promise<{ key: string } | null> {
  const [row] = await within(sql<{ key: string }[]>`
    UPDATE media_objects SET links_until = greatest(links_until, now() + ${seconds(linksSeconds)})
    WHERE id = ${id} AND status = 'pending'
    RETURNING storage_key AS key`)
  return row ?? null
}

async function extendLinks({ sql, seconds }: Context, id: string, linksSeconds: number): Promise<boolean> {
  const { count } = await within(sql`
    UPDATE media_objects SET links_until = greatest(links_until, now() + ${seconds(linksSeconds)})
    WHERE id = ${id} AND status <> 'purging'`)
  return count > 0
}

async function mayBeWritten({ sql }: Context, id: string): Promise<boolean> {
  const rows = await within(sql`SELECT 1 FROM media_objects WHERE id = ${id} AND links_until > now()`)
  return rows.length > 0
}

async function activate(
  { gathered, sql, sweepSoon, owe, reserved, changed }: GatheredContext,
  id: string,
  { sizeBytes, metadata, rekeyed, event }: Activation,
): Promise<ChangedObject | null> {
  if (rekeyed === undefined) return gathered.activate({ id, sizeBytes, metadata, event })
  // The old key may receive late bytes while a link lives.
  const [row] = await within(sql<ChangedObject[]>`
    UPDATE media_objects
    SET status = 'active', status_changed_at = now(), size_bytes = ${sizeBytes}, metadata = ${sql.json(metadata)},
      storage_key = ${rekeyed.key}, mime_type = ${rekeyed.mimeType},
      transient_keys = transient_keys - ${rekeyed.key}::text, ${sweepSoon}, ${sql.unsafe(HELD)},
      ${owe(event)}
    WHERE id = ${id} AND status = 'pending' AND ${reserved(rekeyed.key)}
    RETURNING ${changed}`)
  return row ?? null
}

async function abandon({ sql, toPurging }: Context, id: string): Promise<boolean> {
  const { count } = await within(sql`
    UPDATE media_objects SET ${toPurging} WHERE id = ${id} AND status = 'pending'`)
  return count > 0
}
