/** The statements of uploads: the pending row, and what becomes of it. */
import { type Queryable, violates, within } from '../../db/connect.ts'
import type { Inserted, NewObject } from '../object/new-object.ts'
import type { ChangedObject, Dimensions, MediaRow } from '../object/object.ts'
import { type Announcement, type Fragments, QUOTA } from './fragments.ts'
import type { Gathered } from './gathered.ts'

/** `movedTo`: the key that the bytes were copied to, if they were. */
export type Activation = { sizeBytes: number; metadata: Dimensions; movedTo?: string | undefined; event: Announcement }

type Settings = {
  sql: Queryable
  fragments: Fragments
  gathered: Gathered
  pendingSeconds: number
  /** Whether owners have quotas: then objects are inserted one by one. */
  limited: boolean
}

export function createUploadStatements({ sql, fragments, gathered, pendingSeconds, limited }: Settings) {
  const { columns, changed, seconds, owe, toPurging, withinQuota, announced, sweepSoon } = fragments

  return {
    /**
     * Inserts the pending row. `stale` when the id is older than half of PENDING_SECONDS by the database's clock:
     * a process that slept must not bring a row back whose bytes upkeep may have removed.
     */
    async insert(object: NewObject): Promise<Inserted> {
      const { idempotency } = object
      if (idempotency === undefined && object.tusMetadata === undefined && !limited) return gathered.insert(object)
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
  }
}
