/** All SQL on media_objects. Each arrow of an object's life is one conditional statement. */
import type { Caller } from '../../auth/caller.ts'
import { prepared, type Queryable, violates, within } from '../../db/connect.ts'
import type { MediaEvent } from '../../events/events.ts'
import type { Inserted, NewObject } from '../object/new-object.ts'
import type { ChangedObject, Dimensions, MediaRow, StoredObject, Visibility, VisibleObject } from '../object/object.ts'
import type { Quotas } from '../object/quota.ts'
import { areLimited, NO_QUOTAS } from '../object/quota.ts'
import type { Transients } from '../object/transients.ts'
import type { Viewer } from '../object/viewer.ts'
import { createBacklogStatements } from './backlog.ts'
import { type Announcement, COLUMNS, createFragments, QUOTA } from './fragments.ts'
import { createGatheredStatements } from './gathered.ts'
import { createMultipartStatements } from './multipart-uploads.ts'
import { createOutcomeStatements } from './outcomes.ts'
import { createOwnerStatements } from './owners.ts'
import { createPlaceholderStatements } from './placeholders.ts'
import { createPublicationStatements } from './public-copies.ts'
import { createRenditionStatements, type Rendered } from './renditions.ts'
import { createShapeStatements } from './shapes.ts'
import { createTransientStatements } from './transients.ts'
import { createTusStatements } from './tus.ts'
import { createUpkeepStatements } from './upkeep.ts'

/** `movedTo`: the key that the bytes were copied to, if they were. */
export type Activation = { sizeBytes: number; metadata: Dimensions; movedTo?: string | undefined; event: Announcement }

export type Page = {
  status: 'active' | 'deleted'
  /** A media type, or a whole family as `image/*`. */
  type: string | undefined
  /** Ids below this one. */
  before: string | undefined
  limit: number
}

const LISTED = (ofType: string) => `
  SELECT ${COLUMNS} FROM media_objects
  WHERE user_id = $1 AND status >= $2 AND (status, id) < ($2, $3::uuid) AND ${ofType}
  ORDER BY status DESC, id DESC LIMIT $4`
const LIST = LISTED('true')
const LIST_OF_TYPE = LISTED('mime_type = $5')
const LIST_OF_FAMILY = LISTED('starts_with(mime_type, $5)')

/** Above every id of version 7. */
const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

export type Repository = ReturnType<typeof createRepository>

type Settings = { sql: Queryable; pendingSeconds: number; retentionSeconds: number; quotas?: Quotas }

export function createRepository({ sql, pendingSeconds, retentionSeconds, quotas = NO_QUOTAS }: Settings) {
  const fragments = createFragments(sql, quotas)
  const { columns, changed, ownedBy, seconds, owe, toPurging, withinQuota } = fragments
  const { announced, sweepSoon, transients, withdraw } = fragments
  const gathered = createGatheredStatements({ sql, pendingSeconds })

  return {
    ...createUpkeepStatements({ sql, fragments, pendingSeconds, retentionSeconds }),
    ...createRenditionStatements({ sql, fragments }),
    ...createOutcomeStatements({ sql, fragments }),
    ...createMultipartStatements({ sql, fragments, pendingSeconds }),
    ...createTusStatements({ sql, fragments }),
    ...createOwnerStatements({ sql, fragments }),
    ...createPlaceholderStatements({ sql, fragments }),
    ...createPublicationStatements({ sql, fragments }),
    ...createTransientStatements({ sql, fragments }),
    ...createBacklogStatements({ sql }),
    ...createShapeStatements({ sql, fragments }),

    /**
     * Inserts the pending row. `stale` when the id is older than half of PENDING_SECONDS by the database's clock:
     * a process that slept must not bring a row back whose bytes upkeep may have removed.
     */
    async insert(object: NewObject): Promise<Inserted> {
      const { idempotency } = object
      if (idempotency === undefined && object.tusMetadata === undefined && !areLimited(quotas))
        return gathered.insert(object)
      try {
        const { count } = await within(sql`
          INSERT INTO media_objects
            (id, user_id, original_name, mime_type, size_bytes, storage_key, visibility, metadata, links_until,
              idempotency_key, idempotency_hash, tus_metadata)
          SELECT ${object.id}, ${object.userId}, ${object.originalName}, ${object.mimeType},
            ${object.sizeBytes}::bigint, ${object.key}, ${object.visibility}, ${sql.json(object.metadata)},
            now() + ${seconds(object.linksSeconds)}, ${idempotency?.key ?? null}, ${idempotency?.hash ?? null}, ${object.tusMetadata ?? null}
          WHERE CASE WHEN ${object.madeAt}::bigint > extract(epoch FROM now() - ${seconds(pendingSeconds / 2)}) * 1000
            THEN ${withinQuota(sql`${object.userId}::uuid`, { bytes: object.sizeBytes ?? 0, objects: 1 })} END`)
        return count === 1 ? 'inserted' : 'stale'
      } catch (error) {
        if (violates(error, QUOTA)) return 'over_quota'
        if (violates(error, 'media_objects_idempotency')) return 'taken'
        throw error
      }
    },

    /**
     * The object that an earlier request with this key made, also one on its way out; null when none did, or only one
     * that came to nothing. `underWay`: that request may still be at work, if it takes `attemptSeconds` at most.
     */
    async findAttempt(
      userId: string,
      key: string,
      attemptSeconds: number,
    ): Promise<(MediaRow & { hash: string; underWay: boolean }) | null> {
      const attempts = sql`
        SELECT ${columns}, idempotency_hash AS hash,
          status = 'pending' AND created_at > now() - ${seconds(attemptSeconds)} AS "underWay"
        FROM media_objects WHERE user_id = ${userId} AND idempotency_key = ${key}`
      // Two statements, because each of the two partial indexes is for one of them.
      const [row] = await within(sql<(MediaRow & { hash: string; underWay: boolean })[]>`
        (${attempts} AND status <> 'purging') UNION ALL (${attempts} AND status = 'purging' AND event_seq > 0)
        LIMIT 1`)
      return row ?? null
    },

    /**
     * Lets a pending row outlive a link to upload that is made anew, and says which key that may be for. Null when it
     * is not pending (any more): nothing may be signed for it.
     */
    async extendPending(id: string, linksSeconds: number): Promise<{ key: string } | null> {
      const [row] = await within(sql<{ key: string }[]>`
        UPDATE media_objects SET links_until = greatest(links_until, now() + ${seconds(linksSeconds)})
        WHERE id = ${id} AND status = 'pending'
        RETURNING storage_key AS key`)
      return row ?? null
    },

    /** Lets the row outlive what is being written under its prefix; false when the object is on its way out. */
    async extendLinks(id: string, linksSeconds: number): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects SET links_until = greatest(links_until, now() + ${seconds(linksSeconds)})
        WHERE id = ${id} AND status <> 'purging'`)
      return count > 0
    },

    /**
     * pending → active, with its size and dimensions, and its key where the bytes were moved; null when the row is
     * not pending (any more), or moving the bytes took too long.
     */
    async activate(id: string, { sizeBytes, metadata, movedTo, event }: Activation): Promise<ChangedObject | null> {
      if (movedTo === undefined) return gathered.activate({ id, sizeBytes, metadata, event })
      // The old key may get late bytes while a link lives.
      const [row] = await within(sql<ChangedObject[]>`
        UPDATE media_objects
        SET status = 'active', status_changed_at = now(), size_bytes = ${sizeBytes}, metadata = ${sql.json(metadata)},
          storage_key = ${movedTo}, transient_keys = transient_keys - ${movedTo}::text, ${sweepSoon},
          ${owe(event)}
        WHERE id = ${id} AND status = 'pending' AND ${announced(movedTo)}
        RETURNING ${changed}`)
      return row ?? null
    },

    /** pending → purging. Whoever gets true, and nobody else, may remove the bytes. */
    async abandon(id: string): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects SET ${toPurging} WHERE id = ${id} AND status = 'pending'`)
      return count > 0
    },

    /** An active object that this viewer may see: their own, a public one, any for a service or a link. */
    async findVisible(id: string, viewer: Viewer): Promise<VisibleObject | null> {
      return gathered.findVisible({ id, viewer })
    },

    /** The caller's object in whatever state. */
    async findOwned(id: string, caller: Caller): Promise<MediaRow | null> {
      return gathered.findOwned({ id, caller })
    },

    /**
     * The owner's objects, newest first. Written so that only the index of owner, status and id is in this order:
     * from equal states the planner would see that the primary key is, too, and read past all that came later in
     * another state.
     */
    async list(userId: string, { status, type, before = LAST_ID, limit }: Page): Promise<StoredObject[]> {
      const [text, ...more] =
        type === undefined ? [LIST] : type.endsWith('/*') ? [LIST_OF_FAMILY, type.slice(0, -1)] : [LIST_OF_TYPE, type]
      return within(prepared<StoredObject>(sql, text, [userId, status, before, limit, ...more]))
    },

    /** Those of the ids that are the owner's active objects, newest first. */
    async listByIds(userId: string, ids: string[]): Promise<StoredObject[]> {
      return within(sql<StoredObject[]>`
        SELECT ${columns} FROM media_objects
        WHERE id = ANY(${ids}::uuid[]) AND user_id = ${userId} AND status = 'active'
        ORDER BY id DESC`)
    },

    /**
     * Changes name or visibility of an active object. Null when it is not active any more, or the copy that others get
     * is not at `publicKey` any more, which decided what address was announced. What becomes private has none, wherever
     * it was, so that nothing keeps an owner from that.
     */
    async update(
      id: string,
      caller: Caller,
      change: { originalName?: string; visibility?: Visibility; publicKey: string | null },
      event: Announcement,
    ): Promise<(ChangedObject & Transients) | null> {
      const { originalName = null, visibility = null, publicKey } = change
      const again = sql`publish_due_at = now(), publish_tries = 0,`
      const same = visibility === 'private' ? sql`true` : sql`public_key IS NOT DISTINCT FROM ${publicKey}`
      const [row] = await within(sql<(ChangedObject & Transients)[]>`
        UPDATE media_objects
        SET original_name = coalesce(${originalName}, original_name), visibility = coalesce(${visibility}, visibility),
          ${visibility === 'private' ? sql`${withdraw},` : sql``}
          ${visibility === null ? sql`` : again}
          ${owe(event)}
        WHERE id = ${id} AND status = 'active' AND ${ownedBy(caller)} AND ${same}
        RETURNING ${changed}, ${transients}`)
      return row ?? null
    },

    /**
     * active → deleted. Returns what it owes, and the keys that are to be removed, as that of its copy for others; null
     * when it was not active, or is not the caller's.
     */
    async remove(id: string, caller: Caller): Promise<({ outbox: MediaEvent[] } & Transients) | null> {
      return gathered.remove({ id, caller })
    },

    /** An active object that this viewer may see, with what was made of it, and what could not be. */
    async findRendered(id: string, viewer: Viewer, version: string): Promise<Rendered | null> {
      return gathered.findRendered({ id, viewer, version })
    },

    /** Takes exactly these events out of their rows' outboxes; what was added meanwhile stays, and is due at once. */
    async settle(events: readonly MediaEvent[]): Promise<void> {
      const sent = Map.groupBy(events, ({ payload }) => payload.id)
      const eventIds = (of: MediaEvent[]) => of.map(({ payload }) => payload.eventId)
      await Promise.all([...sent].map(([id, of]) => gathered.settle({ id, sent: eventIds(of) })))
    },

    /** deleted → active, within the retention time. */
    async restore(id: string, caller: Caller, event: Announcement): Promise<ChangedObject | null> {
      const [row] = await within(sql<ChangedObject[]>`
        UPDATE media_objects
        SET status = 'active', status_changed_at = now(), ${owe(event)}
        WHERE id = ${id} AND status = 'deleted' AND ${ownedBy(caller)}
          AND status_changed_at > now() - ${seconds(retentionSeconds)}
        RETURNING ${changed}`)
      return row ?? null
    },

    /** Resolves when the database answers. */
    async check(): Promise<void> {
      await within(sql`SELECT 1 FROM media_objects LIMIT 1`)
    },
  }
}
