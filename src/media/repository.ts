/** All SQL on media_objects. Each arrow of an object's life is one conditional statement. */
import type { Caller } from '../auth/auth.ts'
import { type Sql, violates, within } from '../db/connect.ts'
import type { Channel, MediaEvent } from '../events/events.ts'
import type { Dimensions, MediaRow, StoredObject, Visibility } from './object.ts'

/** Facts to store with a change; `fields` go into the event's payload beside what every event has. */
type Announcement = { channel: Channel; fields?: Record<string, string | number | null> }

export type NewObject = {
  id: string
  /** When the id was made, Unix time in milliseconds. */
  madeAt: number
  userId: string
  originalName: string
  mimeType: string
  sizeBytes: number | null
  key: string
  visibility: Visibility
  metadata: Dimensions | Record<string, never>
  /** How long from now on anyone can still put bytes under the object's prefix. */
  linksSeconds: number
  idempotency: Idempotency | undefined
}

/** What makes a request the same as an earlier one: the client's key, and a SHA-256 of what it asked for. */
export type Idempotency = { key: string; hash: string }

/** `stale`: no row was made, nor can one be any more. `taken`: the idempotency key is another row's. */
export type Inserted = 'inserted' | 'stale' | 'taken'

/** A row on its way out. `linksDead`: nobody can put bytes there any more, so the row may go after them. */
export type PurgingRow = { id: string; key: string; linksDead: boolean }

export type Page = {
  status: 'active' | 'deleted'
  /** A media type, or a whole family as `image/*`. */
  type: string | undefined
  /** Ids below this one. */
  before: string | undefined
  limit: number
}

/** `settled`: the row says that its bytes are stored, and of which size. */
export type KeyRow = { id: string; key: string; sizeBytes: number | null; settled: boolean }

export type Repository = ReturnType<typeof createRepository>

// Whoever made a change sends its events first; the relay takes over when that took longer than this.
const SENDER_LEASE_SECONDS = 5
const RELAY_LEASE_SECONDS = 10
// Longer than upkeep needs for what it claims at once.
const UPKEEP_LEASE_SECONDS = 60

type Settings = { sql: Sql; pendingSeconds: number; retentionSeconds: number }

export function createRepository({ sql, pendingSeconds, retentionSeconds }: Settings) {
  const columns = sql`id, user_id AS "userId", original_name AS "originalName", mime_type AS "mimeType",
    size_bytes AS "sizeBytes", storage_key AS key, metadata, visibility, status, created_at AS "createdAt", outbox`

  /** Ownership is part of the WHERE, so that what is foreign looks like what is not there. */
  const ownedBy = ({ userId, role }: Caller) => (role === 'service' ? sql`true` : sql`user_id = ${userId}`)
  const seconds = (n: number) => sql`${n} * interval '1 second'`

  /** The SET clauses that put one event at the end of the row's own outbox. */
  const owe = ({ channel, fields = {} }: Announcement) => sql`
    event_seq = event_seq + 1,
    outbox_due_at = now() + ${seconds(SENDER_LEASE_SECONDS)},
    outbox = outbox || jsonb_build_array(jsonb_build_object('channel', ${channel}::text, 'payload',
      jsonb_build_object('id', id, 'userId', user_id, 'eventId', gen_random_uuid(), 'seq', event_seq + 1,
        'occurredAt', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
      || ${sql.json(fields)}::jsonb))`

  /** The SET clauses of every arrow to purging. */
  const toPurging = sql`status = 'purging', status_changed_at = now(), upkeep_due_at = now()`

  return {
    /**
     * Inserts the pending row. `stale` when the id is older than half of PENDING_SECONDS by the database's clock:
     * a process that slept must not bring a row back whose bytes upkeep may have removed.
     */
    async insert(object: NewObject): Promise<Inserted> {
      const { idempotency } = object
      try {
        const { count } = await within(sql`
          INSERT INTO media_objects
            (id, user_id, original_name, mime_type, size_bytes, storage_key, visibility, metadata, links_until,
              idempotency_key, idempotency_hash)
          SELECT ${object.id}, ${object.userId}, ${object.originalName}, ${object.mimeType},
            ${object.sizeBytes}::bigint, ${object.key}, ${object.visibility}, ${sql.json(object.metadata)},
            now() + ${seconds(object.linksSeconds)}, ${idempotency?.key ?? null}, ${idempotency?.hash ?? null}
          WHERE ${object.madeAt}::bigint > extract(epoch FROM now() - ${seconds(pendingSeconds / 2)}) * 1000`)
        return count === 1 ? 'inserted' : 'stale'
      } catch (error) {
        if (violates(error, 'media_objects_idempotency')) return 'taken'
        throw error
      }
    },

    /**
     * The object that an earlier request with this key made; null when none did, or none that counts any more.
     * `underWay`: that request may still be at work, if it takes `attemptSeconds` at most.
     */
    async findAttempt(
      userId: string,
      key: string,
      attemptSeconds: number,
    ): Promise<(MediaRow & { hash: string; underWay: boolean }) | null> {
      const [row] = await within(sql<(MediaRow & { hash: string; underWay: boolean })[]>`
        SELECT ${columns}, idempotency_hash AS hash,
          status = 'pending' AND created_at > now() - ${seconds(attemptSeconds)} AS "underWay"
        FROM media_objects WHERE user_id = ${userId} AND idempotency_key = ${key} AND status <> 'purging'`)
      return row ?? null
    },

    /** Lets the row outlive a link that is made anew; false when the object is on its way out. */
    async extendLinks(id: string, linksSeconds: number): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects SET links_until = greatest(links_until, now() + ${seconds(linksSeconds)})
        WHERE id = ${id} AND status <> 'purging'`)
      return count > 0
    },

    /** pending → active, with its size and dimensions; null when the row is not pending (any more). */
    async activate(
      id: string,
      { sizeBytes, metadata, event }: { sizeBytes: number; metadata: Dimensions; event: Announcement },
    ): Promise<StoredObject | null> {
      const [row] = await within(sql<StoredObject[]>`
        UPDATE media_objects
        SET status = 'active', status_changed_at = now(), size_bytes = ${sizeBytes}, metadata = ${sql.json(metadata)},
          ${owe(event)}
        WHERE id = ${id} AND status = 'pending'
        RETURNING ${columns}`)
      return row ?? null
    },

    /** pending → purging. Whoever gets true, and nobody else, may remove the bytes. */
    async abandon(id: string): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects SET ${toPurging} WHERE id = ${id} AND status = 'pending'`)
      return count > 0
    },

    /** An active object that this viewer may see: their own, a public one, any for a service. */
    async findVisible(id: string, viewer: Caller | null): Promise<StoredObject | null> {
      const mayView = viewer === null ? sql`visibility = 'public'` : sql`(visibility = 'public' OR ${ownedBy(viewer)})`
      const [row] = await within(sql<StoredObject[]>`
        SELECT ${columns} FROM media_objects WHERE id = ${id} AND status = 'active' AND ${mayView}`)
      return row ?? null
    },

    /** The caller's object in whatever state. */
    async findOwned(id: string, caller: Caller): Promise<MediaRow | null> {
      const [row] = await within(sql<MediaRow[]>`
        SELECT ${columns} FROM media_objects WHERE id = ${id} AND ${ownedBy(caller)}`)
      return row ?? null
    },

    /** The owner's objects, newest first. */
    async list(userId: string, { status, type, before, limit }: Page): Promise<StoredObject[]> {
      const family = type?.endsWith('/*') ? type.slice(0, -1) : undefined
      const ofType =
        family !== undefined
          ? sql`starts_with(mime_type, ${family})`
          : type !== undefined
            ? sql`mime_type = ${type}`
            : sql`true`
      return within(sql<StoredObject[]>`
        SELECT ${columns} FROM media_objects
        WHERE user_id = ${userId} AND status = ${status} AND ${ofType}
          AND ${before === undefined ? sql`true` : sql`id < ${before}`}
        ORDER BY id DESC LIMIT ${limit}`)
    },

    /** Those of the ids that are the owner's active objects, newest first. */
    async listByIds(userId: string, ids: string[]): Promise<StoredObject[]> {
      return within(sql<StoredObject[]>`
        SELECT ${columns} FROM media_objects
        WHERE id = ANY(${ids}::uuid[]) AND user_id = ${userId} AND status = 'active'
        ORDER BY id DESC`)
    },

    /** Changes name or visibility of an active object. */
    async update(
      id: string,
      caller: Caller,
      change: { originalName?: string; visibility?: Visibility },
      event: Announcement,
    ): Promise<StoredObject | null> {
      const { originalName = null, visibility = null } = change
      const [row] = await within(sql<StoredObject[]>`
        UPDATE media_objects
        SET original_name = coalesce(${originalName}, original_name), visibility = coalesce(${visibility}, visibility),
          ${owe(event)}
        WHERE id = ${id} AND status = 'active' AND ${ownedBy(caller)}
        RETURNING ${columns}`)
      return row ?? null
    },

    /** active → deleted. */
    async remove(id: string, caller: Caller): Promise<StoredObject | null> {
      const [row] = await within(sql<StoredObject[]>`
        UPDATE media_objects
        SET status = 'deleted', status_changed_at = now(), ${owe({ channel: 'photo:deleted' })}
        WHERE id = ${id} AND status = 'active' AND ${ownedBy(caller)}
        RETURNING ${columns}`)
      return row ?? null
    },

    /** deleted → active, within the retention time. */
    async restore(id: string, caller: Caller, event: Announcement): Promise<StoredObject | null> {
      const [row] = await within(sql<StoredObject[]>`
        UPDATE media_objects
        SET status = 'active', status_changed_at = now(), ${owe(event)}
        WHERE id = ${id} AND status = 'deleted' AND ${ownedBy(caller)}
          AND status_changed_at > now() - ${seconds(retentionSeconds)}
        RETURNING ${columns}`)
      return row ?? null
    },

    /** Claims up to `limit` rows whose events are due, for the relay; others leave them alone for a while. */
    async claimOwed(limit: number): Promise<{ outbox: MediaEvent[] }[]> {
      return within(sql<{ outbox: MediaEvent[] }[]>`
        UPDATE media_objects SET outbox_due_at = now() + ${seconds(RELAY_LEASE_SECONDS)}
        WHERE id IN (
          SELECT id FROM media_objects WHERE outbox_due_at <= now()
          ORDER BY outbox_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)
        RETURNING outbox`)
    },

    /** Takes exactly these events out of their rows' outboxes; what was added meanwhile stays, and is due at once. */
    async settle(events: readonly MediaEvent[]): Promise<void> {
      const ids = [...new Set(events.map(({ payload }) => payload.id))]
      const sent = sql.json({ sent: events.map(({ payload }) => payload.eventId) })
      const rest = sql`jsonb_path_query_array(outbox, '$[*] ? (!(@.payload.eventId == $sent[*]))', ${sent}::jsonb)`
      await within(sql`
        UPDATE media_objects
        SET outbox = ${rest}, outbox_due_at = CASE WHEN ${rest} = '[]' THEN NULL ELSE now() END
        WHERE id = ANY(${ids}::uuid[])`)
    },

    /** pending → purging, for up to `limit` rows whose upload did not end in time. Returns how many. */
    async expire(limit: number): Promise<number> {
      const { count } = await within(sql`
        UPDATE media_objects SET ${toPurging}
        WHERE status = 'pending' AND id IN (
          SELECT id FROM media_objects
          WHERE status = 'pending' AND status_changed_at < now() - ${seconds(pendingSeconds)}
          ORDER BY status_changed_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)`)
      return count
    },

    /** deleted → purging, for up to `limit` rows whose retention time is over. Returns what they owe. */
    async retire(limit: number): Promise<{ outbox: MediaEvent[] }[]> {
      return within(sql<{ outbox: MediaEvent[] }[]>`
        UPDATE media_objects SET ${toPurging}, ${owe({ channel: 'photo:purged' })}
        WHERE status = 'deleted' AND id IN (
          SELECT id FROM media_objects
          WHERE status = 'deleted' AND status_changed_at <= now() - ${seconds(retentionSeconds)}
          ORDER BY status_changed_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)
        RETURNING outbox`)
    },

    /** Claims up to `limit` purging rows that are due, for a while, oldest first. */
    async claimPurging(limit: number): Promise<PurgingRow[]> {
      return within(sql<PurgingRow[]>`
        UPDATE media_objects SET upkeep_due_at = now() + ${seconds(UPKEEP_LEASE_SECONDS)}
        WHERE id IN (
          SELECT id FROM media_objects WHERE status = 'purging' AND upkeep_due_at <= now()
          ORDER BY upkeep_due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)
        RETURNING id, storage_key AS key, links_until < now() AS "linksDead"`)
    },

    /** A purging row whose bytes are removed for now: due again when the last link to it is dead. */
    async postpone(id: string): Promise<void> {
      await within(sql`
        UPDATE media_objects SET upkeep_due_at = links_until WHERE id = ${id} AND status = 'purging'`)
    },

    /** purging → nothing. False while events are owed or a link lives. */
    async forget(id: string): Promise<boolean> {
      const { count } = await within(sql`
        DELETE FROM media_objects
        WHERE id = ${id} AND status = 'purging' AND outbox = '[]' AND links_until < now()`)
      return count > 0
    },

    /** Takes the search for bytes without a row for a while; null when another replica has it. */
    async takeOrphanSearch(): Promise<{ position: string } | null> {
      const [row] = await within(sql<{ position: string }[]>`
        UPDATE media_upkeep SET taken_until = now() + ${seconds(UPKEEP_LEASE_SECONDS)}
        WHERE job = 'orphans' AND taken_until <= now() RETURNING position`)
      return row ?? null
    },

    /** Records how far the search has come; it never goes back. `done` gives it up for the next to take. */
    async moveOrphanSearch(position: string, { done }: { done: boolean }): Promise<void> {
      await within(sql`
        UPDATE media_upkeep
        SET position = greatest(position, ${position}),
          taken_until = ${done ? sql`now()` : sql`now() + ${seconds(UPKEEP_LEASE_SECONDS)}`}
        WHERE job = 'orphans'`)
    },

    /** Those of the keys that some row knows. */
    async knownKeys(keys: readonly string[]): Promise<Set<string>> {
      const rows = await within(sql<{ key: string }[]>`
        SELECT storage_key AS key FROM media_objects WHERE storage_key = ANY(${[...keys]}::varchar[])`)
      return new Set(rows.map(({ key }) => key))
    },

    /** Up to `limit` rows in the byte order of their keys, after one. */
    async keysAfter(key: string, limit: number): Promise<KeyRow[]> {
      return within(sql<KeyRow[]>`
        SELECT id, storage_key AS key, size_bytes AS "sizeBytes", status IN ('active', 'deleted') AS settled
        FROM media_objects WHERE storage_key > ${key} ORDER BY storage_key LIMIT ${limit}`)
    },

    async isSettled(id: string): Promise<boolean> {
      const rows = await within(sql`SELECT 1 FROM media_objects WHERE id = ${id} AND status IN ('active', 'deleted')`)
      return rows.length > 0
    },

    /** active, deleted → purging: its bytes are not what the row promises. Null when it has moved on by itself. */
    async giveUp(id: string): Promise<{ outbox: MediaEvent[] } | null> {
      const [row] = await within(sql<{ outbox: MediaEvent[] }[]>`
        UPDATE media_objects SET ${toPurging}, ${owe({ channel: 'photo:purged' })}
        WHERE id = ${id} AND status IN ('active', 'deleted') RETURNING outbox`)
      return row ?? null
    },

    /** Resolves when the database answers. */
    async check(): Promise<void> {
      await within(sql`SELECT 1 FROM media_objects LIMIT 1`)
    },
  }
}
