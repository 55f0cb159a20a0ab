/** Statements on existing objects: find, list, change, soft-delete, restore. */
import type { Caller } from '../../auth/caller.ts'
import { prepared, type Queryable, within } from '../../db/connect.ts'
import type { MediaEvent } from '../../events/events.ts'
import type { ChangedObject, MediaRow, StoredObject, Visibility, VisibleObject } from '../object/object.ts'
import type { Transients } from '../object/transients.ts'
import type { Viewer } from '../object/viewer.ts'
import { type Announcement, COLUMNS, type Fragments } from './fragments.ts'
import type { Gathered } from './gathered.ts'
import type { Rendered } from './renditions.ts'

export type Page = {
  status: 'active' | 'deleted'
  /** A media type, or a whole family such as `image/*`. */
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

type Settings = { sql: Queryable; fragments: Fragments; gathered: Gathered; retentionSeconds: number }

export function createObjectStatements({ sql, fragments, gathered, retentionSeconds }: Settings) {
  const { columns, changed, ownedBy, seconds, owe, transients, withdraw } = fragments

  return {
    /** An active object that the viewer may see: an own or a public one; any for a service or a signed link. */
    async findVisible(id: string, viewer: Viewer): Promise<VisibleObject | null> {
      return gathered.findVisible({ id, viewer })
    },

    /** The caller's object in any state. */
    async findOwned(id: string, caller: Caller): Promise<MediaRow | null> {
      return gathered.findOwned({ id, caller })
    },

    /**
     * An active object that the viewer may see, with its renditions, and the outcomes of this version of the decoders.
     */
    async findRendered(id: string, viewer: Viewer, version: string): Promise<Rendered | null> {
      return gathered.findRendered({ id, viewer, version })
    },

    /**
     * The owner's objects, newest first. The row comparison makes only the index on owner, status and id fit this
     * order: with an equal status, the planner would notice that the primary key has it as well, and read past all
     * newer objects of other states.
     */
    async list(userId: string, { status, type, before = LAST_ID, limit }: Page): Promise<StoredObject[]> {
      const [text, ...more] =
        type === undefined ? [LIST] : type.endsWith('/*') ? [LIST_OF_FAMILY, type.slice(0, -1)] : [LIST_OF_TYPE, type]
      return within(prepared<StoredObject>(sql, text, [userId, status, before, limit, ...more]))
    },

    /** The owner's active objects among these ids, newest first. */
    async listByIds(userId: string, ids: string[]): Promise<StoredObject[]> {
      return within(sql<StoredObject[]>`
        SELECT ${columns} FROM media_objects
        WHERE id = ANY(${ids}::uuid[]) AND user_id = ${userId} AND status = 'active'
        ORDER BY id DESC`)
    },

    /**
     * Changes name or visibility of an active object. Null when it is no longer active, or its public copy is no longer
     * at `publicKey`, which decided the URL in the event. A change to private ignores `publicKey`, so that nothing can
     * prevent it.
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
     * active → deleted. Returns the events that the row owes, and its transient keys, such as that of its public copy;
     * null when it was not active, or is not the caller's.
     */
    async remove(id: string, caller: Caller): Promise<({ outbox: MediaEvent[] } & Transients) | null> {
      return gathered.remove({ id, caller })
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
  }
}
