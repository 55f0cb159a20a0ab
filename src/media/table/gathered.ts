/**
 * The statements of the calls that come most, each for many calls at once (`db/gather.ts`). For every row that it is
 * about, each is what a single statement is: conditional, ownership in its WHERE, the event with the change.
 */
import type { Caller } from '../../auth/caller.ts'
import { prepared, type Queryable, within } from '../../db/connect.ts'
import { createGather, LOCKED } from '../../db/gather.ts'
import type { MediaEvent } from '../../events/events.ts'
import type { Inserted, NewObject } from '../object/new-object.ts'
import type { ChangedObject, Dimensions, MediaRow, VisibleObject } from '../object/object.ts'
import type { Transients } from '../object/transients.ts'
import type { Viewer } from '../object/viewer.ts'
import { type Announcement, COLUMNS, owing, TRANSIENTS, WITHDRAWAL, without } from './fragments.ts'
import type { Rendered } from './renditions.ts'

type Activating = { id: string; sizeBytes: number; metadata: Dimensions; event: Announcement }
type Asking = { id: string; caller: Caller }
type Viewing = { id: string; viewer: Viewer }
/** `version`: of the decoders whose outcomes are asked for. */
type ViewingRendered = Viewing & { version: string }
type Removed = { outbox: MediaEvent[] } & Transients
/** Which events of a row have been sent. */
type Settling = { id: string; sent: string[] }

/** `n`: of which call. */
type Numbered<T> = T & { n: number }
/** `made` is null where nothing was changed; `locked`: because somebody else has locked the row. */
type Outcome<T> = Numbered<T> & { made: number | null; locked: boolean | null }

export function createGatheredStatements({ sql, pendingSeconds }: { sql: Queryable; pendingSeconds: number }) {
  const gather = createGather('options' in sql ? sql.options.max : 1)
  const idOf = ({ id }: { id: string }) => id

  return {
    insert: gather<NewObject, Inserted>({
      idOf,
      async together(objects, ms) {
        const rows = await within(
          prepared<{ id: string }>(sql, INSERT, [
            sql.json(objects.map(({ idempotency, ...object }, n) => ({ n, of: object.id, ...object }))),
            pendingSeconds,
          ]),
          ms,
        )
        const inserted = new Set(rows.map(({ id }) => id))
        return objects.map(({ id }) => (inserted.has(id) ? 'inserted' : 'stale'))
      },
      async alone({ id, userId, originalName, mimeType, sizeBytes, key, visibility, ...rest }, ms) {
        const parameters = [id, userId, originalName, mimeType, sizeBytes, key, visibility, sql.json(rest.metadata)]
        const times = [rest.linksSeconds, rest.madeAt, pendingSeconds]
        const rows = await within(prepared(sql, INSERT_ONE, [...parameters, ...times]), ms)
        return rows.length === 1 ? 'inserted' : 'stale'
      },
    }),

    activate: gather<Activating, ChangedObject | null>({
      idOf,
      async together(activating, ms) {
        const calls = activating.map(({ id, sizeBytes, metadata, event: { channel, fields = {} } }, n) => ({
          ...{ n, of: id, size: sizeBytes, dimensions: metadata, channel, fields },
        }))
        const parameters = [sql.json(calls)]
        const rows = await within(prepared<Outcome<ChangedObject>>(sql, ACTIVATE, parameters), ms)
        return inOrder(activating, rows, ({ n, made, locked, ...row }) =>
          locked ? LOCKED : made === null ? null : row,
        )
      },
      async alone({ id, sizeBytes, metadata, event: { channel, fields = {} } }, ms) {
        const parameters = [id, sizeBytes, sql.json(metadata), channel, sql.json(fields)]
        const [row] = await within(prepared<ChangedObject>(sql, ACTIVATE_ONE, parameters), ms)
        return row ?? null
      },
    }),

    remove: gather<Asking, Removed | null>({
      idOf,
      async together(asked, ms) {
        const rows = await within(prepared<Outcome<Removed>>(sql, REMOVE, [owners(asked)]), ms)
        return inOrder(asked, rows, ({ n, made, locked, ...row }) => (locked ? LOCKED : made === null ? null : row))
      },
      async alone({ id, caller }, ms) {
        const [row] = await within(prepared<Removed>(sql, REMOVE_ONE, [id, ownerOf(caller)]), ms)
        return row ?? null
      },
    }),

    settle: gather<Settling, true | null>({
      idOf,
      async together(settling, ms) {
        const calls = settling.map(({ id, sent }, n) => ({ n, of: id, given: { sent } }))
        const rows = await within(prepared<Outcome<object>>(sql, SETTLE, [sql.json(calls)]), ms)
        return inOrder(settling, rows, ({ locked }) => (locked ? LOCKED : true))
      },
      async alone({ id, sent }, ms) {
        await within(prepared(sql, SETTLE_ONE, [id, sql.json({ sent })]), ms)
        return true
      },
    }),

    findVisible: gather<Viewing, VisibleObject | null>({
      async together(asked, ms) {
        const rows = await within(prepared<Numbered<VisibleObject>>(sql, FIND_VISIBLE, [viewers(asked)]), ms)
        return inOrder(asked, rows, ({ n, ...row }) => row)
      },
      async alone(asked, ms) {
        const [row] = await within(prepared<VisibleObject>(sql, FIND_VISIBLE_ONE, viewer(asked)), ms)
        return row ?? null
      },
    }),

    findRendered: gather<ViewingRendered, Rendered | null>({
      async together(asked, ms) {
        const rows = await within(prepared<Numbered<Rendered>>(sql, FIND_RENDERED, [viewers(asked)]), ms)
        return inOrder(asked, rows, ({ n, ...row }) => row)
      },
      async alone(asked, ms) {
        const parameters = [...viewer(asked), asked.version]
        const [row] = await within(prepared<Rendered>(sql, FIND_RENDERED_ONE, parameters), ms)
        return row ?? null
      },
    }),

    findOwned: gather<Asking, MediaRow | null>({
      async together(asked, ms) {
        const rows = await within(prepared<Numbered<MediaRow>>(sql, FIND_OWNED, [owners(asked)]), ms)
        return inOrder(asked, rows, ({ n, ...row }) => row)
      },
      async alone({ id, caller }, ms) {
        const [row] = await within(prepared<MediaRow>(sql, FIND_OWNED_ONE, [id, ownerOf(caller)]), ms)
        return row ?? null
      },
    }),
  }

  function owners(asked: readonly Asking[]) {
    return sql.json(asked.map(({ id, caller }, n) => ({ n, of: id, by: ownerOf(caller) })))
  }

  function viewers(asked: readonly (Viewing & { version?: string })[]) {
    return sql.json(
      asked.map((one, n) => {
        const [of, by, every] = viewer(one)
        return { n, of, by, every, version: one.version }
      }),
    )
  }
}

/** Whoever has a link that the service signed sees what it leads to as its owner does. */
function viewer({ id, viewer }: Viewing): [id: string, by: string | null, every: boolean] {
  if (viewer === null || viewer === 'link') return [id, null, viewer === 'link']
  return [id, ownerOf(viewer), viewer.role === 'service']
}

/** Null stands for a service, which owns everything. */
function ownerOf({ userId, role }: Caller): string | null {
  return role === 'service' ? null : userId
}

/** An answer for each call: null where there is no row for it. */
function inOrder<T extends { n: number }, A>(calls: readonly unknown[], rows: readonly T[], answer: (row: T) => A) {
  const answers: (A | null)[] = calls.map(() => null)
  for (const row of rows) answers[row.n] = answer(row)
  return answers
}

/** The calls as rows: `n` says which one it is, `of` the id of its object. No column is called as one of the table. */
function callsWith(columns: string): string {
  return `jsonb_to_recordset($1) AS calls (n integer, of uuid, ${columns})`
}

/**
 * Changes the rows that calls ($1) are about, where `condition` holds. It waits for no lock: a row that the
 * condition holds for, but that was not changed, somebody else has locked. So it cannot be in a deadlock, in whichever
 * order it locks. LATERAL with a lock or OFFSET 0, a subquery for one value, and the list of ids make lookups by id of all
 * that it reads, whatever the server knows about the table when it makes its plan.
 * @param also what else has to hold for a change here; where it does not, the call goes alone
 */
function change(of: { columns: string; condition: string; also?: string; set: string; returning: string }): string {
  return `
    WITH calls AS MATERIALIZED (SELECT * FROM ${callsWith(of.columns)}),
    mine AS MATERIALIZED (
      SELECT calls.* FROM calls CROSS JOIN LATERAL (
        SELECT FROM media_objects
        WHERE id = of AND ${of.condition} AND ${of.also ?? 'true'} FOR UPDATE SKIP LOCKED) AS locked_row),
    done AS (
      UPDATE media_objects SET ${of.set} FROM mine
      WHERE id = of AND id = ANY(ARRAY(SELECT of FROM mine)) AND ${of.condition}
      RETURNING n AS made, ${of.returning})
    SELECT n, CASE WHEN made IS NULL THEN (
        SELECT true FROM media_objects WHERE id = of AND ${of.condition}) END AS locked, done.*
    FROM calls LEFT JOIN done ON made = n`
}

const CHANGED = `${COLUMNS}, outbox`
const OWNED = '(by IS NULL OR user_id = by)'

// In this order, because each one locks what its owner has.
const INSERT = `
  INSERT INTO media_objects
    (id, user_id, original_name, mime_type, size_bytes, storage_key, visibility, metadata, links_until)
  SELECT of, "userId", "originalName", "mimeType", "sizeBytes", key, visibility, metadata,
    now() + "linksSeconds" * interval '1 second'
  FROM ${callsWith(`"madeAt" bigint, "userId" uuid, "originalName" text, "mimeType" text, "sizeBytes" bigint,
    key text, visibility text, metadata jsonb, "linksSeconds" integer`)}
  WHERE "madeAt" > extract(epoch FROM now() - $2::float8 / 2 * interval '1 second') * 1000
  ORDER BY "userId", of
  RETURNING id`

const INSERT_ONE = `
  INSERT INTO media_objects
    (id, user_id, original_name, mime_type, size_bytes, storage_key, visibility, metadata, links_until)
  SELECT $1, $2, $3, $4, $5::bigint, $6, $7, $8, now() + $9::integer * interval '1 second'
  WHERE $10::bigint > extract(epoch FROM now() - $11::float8 / 2 * interval '1 second') * 1000
  RETURNING id`

const ACTIVATION = (size: string, dimensions: string, channel: string, fields: string) =>
  `status = 'active', status_changed_at = now(), size_bytes = ${size}, metadata = ${dimensions}, ${owing(channel, fields)}`
const ACTIVATE = change({
  columns: 'size bigint, dimensions jsonb, channel text, fields jsonb',
  condition: "status = 'pending'",
  // Another size changes what the owner has, and waits for the lock of that.
  also: 'size_bytes = size',
  set: ACTIVATION('size', 'dimensions', 'channel', 'fields'),
  returning: CHANGED,
})
const ACTIVATE_ONE = `
  UPDATE media_objects SET ${ACTIVATION('$2', '$3', '$4::text', '$5::jsonb')}
  WHERE id = $1 AND status = 'pending'
  RETURNING ${CHANGED}`

const REMOVAL = `status = 'deleted', status_changed_at = now(), ${WITHDRAWAL},
  publish_due_at = now(), publish_tries = 0, ${owing("'photo:deleted'", "'{}'::jsonb")}`
const REMOVE = change({
  columns: 'by uuid',
  condition: `status = 'active' AND ${OWNED}`,
  set: REMOVAL,
  returning: `outbox, ${TRANSIENTS}`,
})
const REMOVE_ONE = `
  UPDATE media_objects SET ${REMOVAL}
  WHERE id = $1 AND status = 'active' AND ($2::uuid IS NULL OR user_id = $2::uuid)
  RETURNING outbox, ${TRANSIENTS}`

const SETTLE = change({
  columns: 'given jsonb',
  // Not by `outbox_due_at`, whose index has all that is owed: it would be read whole for each call.
  condition: "outbox <> '[]'",
  set: without('given'),
  returning: 'true AS settled',
})
const SETTLE_ONE = `UPDATE media_objects SET ${without('$2::jsonb')} WHERE id = $1 AND outbox <> '[]'`

const VIEWED = (of: string, by: string, every: string, more: string) => `
  SELECT ${COLUMNS}, coalesce(${every} OR user_id = ${by}, false) AS own ${more} FROM media_objects
  WHERE id = ${of} AND status = 'active' AND (visibility = 'public' OR ${every} OR user_id = ${by})`
const VIEWED_EACH = (more: string) => `
  SELECT n, found.* FROM ${callsWith('by uuid, every boolean, version text')}
  CROSS JOIN LATERAL (${VIEWED('of', 'by', 'every', more)} OFFSET 0) AS found`
const FIND_VISIBLE = VIEWED_EACH('')
const FIND_VISIBLE_ONE = VIEWED('$1', '$2::uuid', '$3::boolean', '')
const RENDERED = (version: string) => `, renditions, stranger_bytes AS "strangerBytes",
  CASE WHEN decode_version = ${version} THEN decode_outcomes ELSE '{}'::jsonb END AS outcomes,
  extract(epoch FROM now())::float8 AS now`
const FIND_RENDERED = VIEWED_EACH(RENDERED('version'))
const FIND_RENDERED_ONE = VIEWED('$1', '$2::uuid', '$3::boolean', RENDERED('$4'))

const FIND_OWNED = `
  SELECT n, found.* FROM ${callsWith('by uuid')}
  CROSS JOIN LATERAL (SELECT ${COLUMNS} FROM media_objects WHERE id = of AND ${OWNED} OFFSET 0) AS found`
const FIND_OWNED_ONE = `
  SELECT ${COLUMNS} FROM media_objects WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2::uuid)`
