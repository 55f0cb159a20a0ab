/**
 * The most frequent statements, each for many calls at once (`db/gather.ts`). For each of its rows, such a statement
 * does what a single one does: conditional, ownership in its WHERE, the event with the change.
 */
import type { Caller } from '../../auth/caller.ts'
import { prepared, type Queryable, within } from '../../db/connect.ts'
import { createGather } from '../../db/gather.ts'
import { type Kind, LOCKED } from '../../db/gathered-calls.ts'
import type { MediaEvent } from '../../events/events.ts'
import type { Inserted, NewObject } from '../object/new-object.ts'
import type { ChangedObject, Dimensions, MediaRow, VisibleObject } from '../object/object.ts'
import type { Rendered } from '../object/places.ts'
import type { Transients } from '../object/transients.ts'
import type { Viewer } from '../object/viewer.ts'
import type { Context } from './context.ts'
import type { Announcement } from './fragments.ts'
import {
  ACTIVATE,
  ACTIVATE_ONE,
  FIND_OWNED,
  FIND_OWNED_ONE,
  FIND_RENDERED,
  FIND_RENDERED_ONE,
  FIND_VISIBLE,
  FIND_VISIBLE_ONE,
  INSERT,
  INSERT_ONE,
  REMOVE,
  REMOVE_ONE,
  SETTLE,
  SETTLE_ONE,
} from './gathered-texts.ts'

type Activating = { id: string; sizeBytes: number; metadata: Dimensions; event: Announcement }
type Asking = { id: string; caller: Caller }
type Viewing = { id: string; viewer: Viewer }
/** `version`: the version of the decoders whose outcomes are read. */
type ViewingRendered = Viewing & { version: string }
type Removed = { outbox: MediaEvent[] } & Transients
/** Which events of a row have been sent. */
type Settling = { id: string; sent: string[] }

/** `n`: the number of the call. */
type Numbered<T> = T & { n: number }
/** `made` is null where nothing was changed; `locked`: because another transaction has locked the row. */
type Outcome<T> = Numbered<T> & { made: number | null; locked: boolean | null }

type Gathered = ReturnType<typeof createGatheredStatements>
export type GatheredContext = Context & { gathered: Gathered }

export function createGatheredStatements({ sql, pendingSeconds }: Pick<Context, 'sql' | 'pendingSeconds'>) {
  const gather = createGather('options' in sql ? sql.options.max : 1)
  return {
    insert: gather(insert(sql, pendingSeconds)),
    activate: gather(activate(sql)),
    remove: gather(remove(sql)),
    settle: gather(settle(sql)),
    findVisible: gather(findVisible(sql)),
    findRendered: gather(findRendered(sql)),
    findOwned: gather(findOwned(sql)),
  }
}

function insert(sql: Queryable, pendingSeconds: number): Kind<NewObject, Inserted> {
  return {
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
      const times = [rest.linksSeconds, rest.completeInSeconds, rest.holdSeconds ?? null, rest.madeAt, pendingSeconds]
      const rows = await within(prepared(sql, INSERT_ONE, [...parameters, ...times]), ms)
      return rows.length === 1 ? 'inserted' : 'stale'
    },
  }
}

function activate(sql: Queryable): Kind<Activating, ChangedObject | null> {
  return {
    idOf,
    async together(activating, ms) {
      const calls = activating.map(({ id, sizeBytes, metadata, event: { channel, fields = {} } }, n) => ({
        ...{ n, of: id, size: sizeBytes, dimensions: metadata, channel, fields },
      }))
      const parameters = [sql.json(calls)]
      const rows = await within(prepared<Outcome<ChangedObject>>(sql, ACTIVATE, parameters), ms)
      return inOrder(activating, rows, ({ n, made, locked, ...row }) => (locked ? LOCKED : made === null ? null : row))
    },
    async alone({ id, sizeBytes, metadata, event: { channel, fields = {} } }, ms) {
      const parameters = [id, sizeBytes, sql.json(metadata), channel, sql.json(fields)]
      const [row] = await within(prepared<ChangedObject>(sql, ACTIVATE_ONE, parameters), ms)
      return row ?? null
    },
  }
}

function remove(sql: Queryable): Kind<Asking, Removed | null> {
  return {
    idOf,
    async together(asked, ms) {
      const rows = await within(prepared<Outcome<Removed>>(sql, REMOVE, [owners(sql, asked)]), ms)
      return inOrder(asked, rows, ({ n, made, locked, ...row }) => (locked ? LOCKED : made === null ? null : row))
    },
    async alone({ id, caller }, ms) {
      const [row] = await within(prepared<Removed>(sql, REMOVE_ONE, [id, ownerOf(caller)]), ms)
      return row ?? null
    },
  }
}

function settle(sql: Queryable): Kind<Settling, true | null> {
  return {
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
  }
}

function findVisible(sql: Queryable): Kind<Viewing, VisibleObject | null> {
  return {
    async together(asked, ms) {
      const rows = await within(prepared<Numbered<VisibleObject>>(sql, FIND_VISIBLE, [viewers(sql, asked)]), ms)
      return inOrder(asked, rows, ({ n, ...row }) => row)
    },
    async alone(asked, ms) {
      const [row] = await within(prepared<VisibleObject>(sql, FIND_VISIBLE_ONE, viewer(asked)), ms)
      return row ?? null
    },
  }
}

function findRendered(sql: Queryable): Kind<ViewingRendered, Rendered | null> {
  return {
    async together(asked, ms) {
      const rows = await within(prepared<Numbered<Rendered>>(sql, FIND_RENDERED, [viewers(sql, asked)]), ms)
      return inOrder(asked, rows, ({ n, ...row }) => row)
    },
    async alone(asked, ms) {
      const parameters = [...viewer(asked), asked.version]
      const [row] = await within(prepared<Rendered>(sql, FIND_RENDERED_ONE, parameters), ms)
      return row ?? null
    },
  }
}

function findOwned(sql: Queryable): Kind<Asking, MediaRow | null> {
  return {
    async together(asked, ms) {
      const rows = await within(prepared<Numbered<MediaRow>>(sql, FIND_OWNED, [owners(sql, asked)]), ms)
      return inOrder(asked, rows, ({ n, ...row }) => row)
    },
    async alone({ id, caller }, ms) {
      const [row] = await within(prepared<MediaRow>(sql, FIND_OWNED_ONE, [id, ownerOf(caller)]), ms)
      return row ?? null
    },
  }
}

const idOf = ({ id }: { id: string }) => id

function owners(sql: Queryable, asked: readonly Asking[]) {
  return sql.json(asked.map(({ id, caller }, n) => ({ n, of: id, by: ownerOf(caller) })))
}

function viewers(sql: Queryable, asked: readonly (Viewing & { version?: string })[]) {
  return sql.json(
    asked.map((one, n) => {
      const [of, by, every] = viewer(one)
      return { n, of, by, every, version: one.version }
    }),
  )
}

/** The holder of a link that the service signed sees the object as its owner does. */
function viewer({ id, viewer }: Viewing): [id: string, by: string | null, every: boolean] {
  if (viewer === null || viewer === 'link') return [id, null, viewer === 'link']
  return [id, ownerOf(viewer), viewer.role === 'service']
}

/** Null for a service, which owns everything. */
function ownerOf({ userId, role }: Caller): string | null {
  return role === 'service' ? null : userId
}

/** One answer for each call: null where it has no row. */
function inOrder<T extends { n: number }, A>(calls: readonly unknown[], rows: readonly T[], answer: (row: T) => A) {
  const answers: (A | null)[] = calls.map(() => null)
  for (const row of rows) answers[row.n] = answer(row)
  return answers
}
