/** Pieces of SQL that several statements on media_objects share. */
import type { Caller } from '../auth/auth.ts'
import type { Queryable } from '../db/connect.ts'
import type { Channel } from '../events/events.ts'
import type { Quotas } from './object.ts'

/** Facts to store with a change; `fields` go into the event's payload beside what every event has. */
export type Announcement = { channel: Channel; fields?: Record<string, string | number | null> }

// Whoever made a change sends its events first; the relay takes over when that took longer than this.
const SENDER_LEASE_SECONDS = 5

export type Fragments = ReturnType<typeof createFragments>

/** The constraint that a statement breaks which would give an owner more than the quotas allow. */
export const QUOTA = 'media_quota'

export function createFragments(sql: Queryable, { quotaBytes, quotaObjects }: Quotas) {
  const columns = sql`id, user_id AS "userId", original_name AS "originalName", mime_type AS "mimeType",
    size_bytes AS "sizeBytes", storage_key AS key, metadata, visibility, status, public_key AS "publicKey",
    created_at AS "createdAt", upload_id AS "uploadId"`

  /** Ownership is part of the WHERE, so that what is foreign looks like what is not there. */
  const ownedBy = ({ userId, role }: Caller) => (role === 'service' ? sql`true` : sql`user_id = ${userId}`)

  /** What a viewer may see: active objects that are theirs, or public; null stands for someone who is not known. */
  const visibleTo = (viewer: Caller | null) => {
    const own = viewer === null ? sql`false` : ownedBy(viewer)
    return {
      columns: sql`${columns}, ${own} AS own`,
      rows: sql`status = 'active' AND (visibility = 'public' OR ${own})`,
    }
  }

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

  /**
   * True when an owner may have this much more, which nobody else can take until the statement's end; else the statement
   * fails with the constraint `QUOTA`.
   */
  const withinQuota = (owner: ReturnType<typeof sql>, more: { bytes: number; objects: number }) =>
    quotaBytes === null && quotaObjects === null
      ? sql`true`
      : sql`media_reserve(${owner}, ${more.bytes}, ${more.objects}, ${quotaBytes}, ${quotaObjects})`

  return { columns, changed: sql`${columns}, outbox`, ownedBy, visibleTo, seconds, owe, toPurging, withinQuota }
}
