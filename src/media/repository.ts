/** All SQL on media_objects. Each arrow of an object's life is one conditional statement. */
import type { Caller } from '../auth/auth.ts'
import { type Sql, within } from '../db/connect.ts'
import type { Channel, MediaEvent } from '../events/events.ts'
import { Problem } from '../problem.ts'
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
}

export type Page = {
  status: 'active' | 'deleted'
  /** A media type, or a whole family as `image/*`. */
  type: string | undefined
  /** Ids below this one. */
  before: string | undefined
  limit: number
}

export type Repository = ReturnType<typeof createRepository>

// Whoever made a change sends its events first; the relay takes over when that took longer than this.
const SENDER_LEASE_SECONDS = 5
const RELAY_LEASE_SECONDS = 10

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

  return {
    /**
     * Inserts the pending row. Refused when the id is older than half of PENDING_SECONDS by the database's clock:
     * a process that slept must not bring a row back whose bytes upkeep may have removed.
     */
    async insert(object: NewObject): Promise<void> {
      const { count } = await within(sql`
        INSERT INTO media_objects
          (id, user_id, original_name, mime_type, size_bytes, storage_key, visibility, metadata, links_until)
        SELECT ${object.id}, ${object.userId}, ${object.originalName}, ${object.mimeType}, ${object.sizeBytes}::bigint,
          ${object.key}, ${object.visibility}, ${sql.json(object.metadata)}, now() + ${seconds(object.linksSeconds)}
        WHERE ${object.madeAt}::bigint > extract(epoch FROM now() - ${seconds(pendingSeconds / 2)}) * 1000`)
      if (count === 0) throw new Problem('database_unavailable', 'The upload took too long. Start it again.')
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
        UPDATE media_objects SET status = 'purging', status_changed_at = now()
        WHERE id = ${id} AND status = 'pending'`)
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

    /** Resolves when the database answers. */
    async check(): Promise<void> {
      await within(sql`SELECT 1 FROM media_objects LIMIT 1`)
    },
  }
}
