/** Statements on existing objects: find, list, change, soft-delete, restore. */
import type { Caller } from '../../auth/caller.ts'
import { prepared, within } from '../../db/connect.ts'
import type { MediaEvent } from '../../events/events.ts'
import type { ChangedObject, MediaRow, StoredObject, Visibility, VisibleObject } from '../object/object.ts'
import type { Transients } from '../object/transients.ts'
import type { Viewer } from '../object/viewer.ts'
import type { Context } from './context.ts'
import { type Announcement, COLUMNS } from './fragments.ts'
import type { GatheredContext } from './gathered.ts'

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

type Change = { originalName?: string; visibility?: Visibility; publicKey: string | null }

/** Above every id of version 7. */
const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

export interface ObjectStatements {
  /** An active object that the viewer may see: an own or a public one; any for a service or a signed link. */
  findVisible(id: string, viewer: Viewer): Promise<VisibleObject | null>
  /** The caller's object in any state. */
  findOwned(id: string, caller: Caller): Promise<MediaRow | null>
  /**
   * The owner's objects, newest first. The row comparison makes only the index on owner, status and id fit this
   * order: with an equal status, the planner would notice that the primary key has it as well, and read past all
   * newer objects of other states.
   */
  list(userId: string, page: Page): Promise<StoredObject[]>
  /** The owner's active objects among these ids, newest first. */
  listByIds(userId: string, ids: string[]): Promise<StoredObject[]>
  /**
   * Changes name or visibility of an active object. Null when it is no longer active, or its public copy is no longer
   * at `publicKey`, which decided the URL in the event. A change to private ignores `publicKey`, so that nothing can
   * prevent it.
   */
  update(id: string, caller: Caller, change: Change, event: Announcement): Promise<(ChangedObject & Transients) | null>
  /**
   * active → deleted. Returns the events that the row owes, and its transient keys, such as that of its public copy;
   * null when it was not active, or is not the caller's.
   */
  remove(id: string, caller: Caller): Promise<({ outbox: MediaEvent[] } & Transients) | null>
  /** deleted → active, within the retention time, and for good: a hold ends. */
  restore(id: string, caller: Caller, event: Announcement): Promise<ChangedObject | null>
}

export function createObjectStatements(context: GatheredContext): ObjectStatements {
  return {
    findVisible: (id, viewer) => findVisible(context, id, viewer),
    findOwned: (id, caller) => findOwned(context, id, caller),
    list: (userId, page) => list(context, userId, page),
    listByIds: (userId, ids) => listByIds(context, userId, ids),
    update: (id, caller, change, event) => update(context, id, caller, change, event),
    remove: (id, caller) => remove(context, id, caller),
    restore: (id, caller, event) => restore(context, id, caller, event),
  }
}

async function findVisible({ gathered }: GatheredContext, id: string, viewer: Viewer): Promise<VisibleObject | null> {
  return gathered.findVisible({ id, viewer })
}

async function findOwned({ gathered }: GatheredContext, id: string, caller: Caller): Promise<MediaRow | null> {
  return gathered.findOwned({ id, caller })
}

async function list(
  { sql }: Context,
  userId: string,
  { status, type, before = LAST_ID, limit }: Page,
): Promise<StoredObject[]> {
  const [text, ...more] =
    type === undefined ? [LIST] : type.endsWith('/*') ? [LIST_OF_FAMILY, type.slice(0, -1)] : [LIST_OF_TYPE, type]
  return within(prepared<StoredObject>(sql, text, [userId, status, before, limit, ...more]))
}

async function listByIds({ sql, columns }: Context, userId: string, ids: string[]): Promise<StoredObject[]> {
  return within(sql<StoredObject[]>`
    SELECT ${columns} FROM media_objects
    WHERE id = ANY(${ids}::uuid[]) AND user_id = ${userId} AND status = 'active'
    ORDER BY id DESC`)
}

async function update(
  { sql, withdraw, owe, ownedBy, changed, transients }: Context,
  id: string,
  caller: Caller,
  change: Change,
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
}

async function remove(
  { gathered }: GatheredContext,
  id: string,
  caller: Caller,
): Promise<({ outbox: MediaEvent[] } & Transients) | null> {
  return gathered.remove({ id, caller })
}

async function restore(
  { sql, owe, ownedBy, seconds, retentionSeconds, changed }: Context,
  id: string,
  caller: Caller,
  event: Announcement,
): Promise<ChangedObject | null> {
  const [row] = await within(sql<ChangedObject[]>`
    UPDATE media_objects
    SET status = 'active', status_changed_at = now(), expires_at = NULL, ${owe(event)}
    WHERE id = ${id} AND status = 'deleted' AND ${ownedBy(caller)}
      AND status_changed_at > now() - ${seconds(retentionSeconds)}
    RETURNING ${changed}`)
  return row ?? null
}
