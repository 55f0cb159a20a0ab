/** SQL fragments that several statements on media_objects share. */

import type { Caller } from '../../auth/caller.ts'
import type { Fragment, Queryable } from '../../db/connect.ts'
import type { Channel } from '../../events/events.ts'
import type { Quotas } from '../object/quota.ts'

/** The event to append with a change; `fields` extend the payload that every event has. */
export type Announcement = { channel: Channel; fields?: Record<string, string | number | null> }

// The request that made a change sends its events first; the relay takes over when that takes longer than this.
const SENDER_LEASE_SECONDS = 5

export type Fragments = ReturnType<typeof createFragments>

/** The constraint that a statement violates if it would exceed its owner's quotas. */
export const QUOTA = 'media_quota'

export function createFragments(sql: Queryable, quotas: Quotas) {
  const columns = sql.unsafe(COLUMNS)

  /** Ownership is part of the WHERE, so that a foreign object looks like a missing one. */
  const ownedBy = ({ userId, role }: Caller) => (role === 'service' ? sql`true` : sql`user_id = ${userId}`)

  const seconds = (n: number) => sql`${n} * interval '1 second'`

  /** The database's time, in Unix seconds. */
  const epoch = sql.unsafe(EPOCH)

  /**
   * The SET clauses of a statement that lets bytes arrive under an object's prefixes for so many seconds from now: the
   * row outlives them, and its prefixes are swept after them. A sweep that is due sooner stays so.
   */
  const letBytesIn = (forSeconds: number) => {
    const end = sql`greatest(links_until, now() + ${seconds(forSeconds)})`
    return sql`links_until = ${end}, sweep_due_at = least(sweep_due_at, ${end})`
  }

  /** The SET clause for an object whose prefixes hold bytes that are not its own: swept when no more can arrive. */
  const sweepSoon = sql`sweep_due_at = least(sweep_due_at, greatest(links_until, now()))`

  const transients = sql.unsafe(TRANSIENTS)

  /** Whether a reserved key can still become the object's. */
  const reserved = (to: string) => sql`(transient_keys ->> ${to}::text)::numeric > ${epoch}`

  const withdraw = sql.unsafe(WITHDRAWAL)

  /** The SET clauses of every arrow to purging. */
  const toPurging = sql`status = 'purging', status_changed_at = now(), upkeep_due_at = now(), ${withdraw}`

  return {
    columns,
    changed: sql`${columns}, outbox`,
    ownedBy,
    seconds,
    epoch,
    letBytesIn,
    sweepSoon,
    transients,
    reserved,
    withdraw,
    owe: (event: Announcement) => owe(sql, event),
    toDeleted: sql.unsafe(TO_DELETED),
    toPurging,
    withinQuota: (owner: Fragment, more: More) => withinQuota(sql, quotas, owner, more),
  }
}

/** The SET clauses that append one event to the row's outbox. */
function owe(sql: Queryable, { channel, fields = {} }: Announcement): Fragment {
  const [before, between, after] = oweTexts
  return sql`${sql.unsafe(before)} ${channel}::text ${sql.unsafe(between)} ${sql.json(fields)}::jsonb ${sql.unsafe(after)}`
}

type More = { bytes: number; objects: number }

/**
 * True when the owner may store this much more, which the statement reserves until its transaction ends; otherwise the
 * statement violates the constraint `QUOTA`.
 */
function withinQuota(
  sql: Queryable,
  { quotaBytes, quotaObjects }: Quotas,
  owner: Fragment,
  { bytes, objects }: More,
): Fragment {
  return quotaBytes === null && quotaObjects === null
    ? sql`true`
    : sql`media_reserve(${owner}, ${bytes}, ${objects}, ${quotaBytes}, ${quotaObjects})`
}

// Fragments that statements of constant text use as well.

export const COLUMNS = `id, user_id AS "userId", original_name AS "originalName", mime_type AS "mimeType",
  size_bytes AS "sizeBytes", storage_key AS key, metadata, visibility, status, public_key AS "publicKey",
  created_at AS "createdAt", expires_at AS "expiresAt", upload_id AS "uploadId"`

const EPOCH = 'extract(epoch FROM now())'

/** The SET clause of the arrows to active: a hold begins when the object is complete, as a large upload takes hours. */
export const HELD = "expires_at = now() + hold_seconds * interval '1 second'"

/** The RETURNING columns of an object's transient keys, see `Transients`. */
export const TRANSIENTS = `transient_keys AS "transientKeys", ${EPOCH}::text AS "asOf"`

/**
 * The SET clauses that withdraw the public copy, from the row's own old value. A copy that is being made for a CDN must
 * not become the object's any more, even if the object is public again by then.
 */
const WITHDRAWAL = `
  public_key = NULL,
  transient_keys = (
    SELECT coalesce(jsonb_object_agg(key, CASE WHEN starts_with(key, 'public/') THEN -abs(until) ELSE until END), '{}')
    FROM (
      SELECT key, value::numeric AS until FROM jsonb_each(transient_keys)
      UNION ALL SELECT public_key COLLATE "default", ${EPOCH} WHERE public_key IS NOT NULL
    ) AS each),
  transient_due_at = CASE WHEN public_key IS NULL AND transient_keys = '{}' THEN transient_due_at ELSE now() END`

/** The SET clauses of the arrow to the bin. */
export const TO_DELETED = `status = 'deleted', status_changed_at = now(), ${WITHDRAWAL},
  publish_due_at = now(), publish_tries = 0`

/** The SET clauses that append one event to the row's outbox; both arguments are SQL expressions. */
export function owing(channel: string, fields: string): string {
  return oweTexts[0] + channel + oweTexts[1] + fields + oweTexts[2]
}

const oweTexts = [
  `event_seq = event_seq + 1,
    outbox_due_at = now() + interval '${SENDER_LEASE_SECONDS} seconds',
    outbox = outbox || jsonb_build_array(jsonb_build_object('channel', `,
  `, 'payload',
      jsonb_build_object('id', id, 'userId', user_id, 'eventId', gen_random_uuid(), 'seq', event_seq + 1,
        'occurredAt', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
      || `,
  '))',
] as const

/** The SET clauses that remove events from the row's outbox; `sent`: an expression for `{"sent": [their ids]}`. */
export function without(sent: string): string {
  const rest = `jsonb_path_query_array(outbox, '$[*] ? (!(@.payload.eventId == $sent[*]))', ${sent})`
  return `outbox = ${rest}, outbox_due_at = CASE WHEN ${rest} = '[]' THEN NULL ELSE now() END`
}
