/** The statements of objects that are there: finding, listing, changing, deleting, restoring. */
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

type Settings = { sql: Queryable; fragments: Fragments; gathered: Gathered; retentionSeconds: number }

export function createObjectStatements({ sql, fragments, gathered, retentionSeconds }: Settings) {
  const { columns, changed, ownedBy, seconds, owe, transients, withdraw } = fragments

  return {
    /** An active object that this viewer may see: their own, a public one, any for a service or a link. */
    async findVisible(id: string, viewer: Viewer): Promise<VisibleObject | null> {
      return gathered.findVisible({ id, viewer })
    },

    /** The caller's object in whatever state. */
    async findOwned(id: string, caller: Caller): Promise<MediaRow | null> {
      return gathered.findOwned({ id, caller })
    },

    /** An active object that this viewer may see, with what was made of it, and what could not be. */
    async findRendered(id: string, viewer: Viewer, version: string): Promise<Rendered | null> {
      return gathered.findRendered({ id, viewer, version })
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
