import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { v7 as uuidv7 } from 'uuid'
import type { Caller } from '../../src/auth/caller.ts'
import type { Queryable } from '../../src/db/connect.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { arrived, changed, newObject, restored } from '../support/media/objects.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'

/** Of the table. Making a million of them takes the embedded database minutes, and its planner is Postgres' own. */
const SIZES: Record<string, number> = { Postgres: 1_000_000, PGlite: 60_000 }
// How many of them are still on their way.
const RECENT = 20_000
const owner: Caller = { userId: crypto.randomUUID(), role: 'user' }
/** What this transaction has read of the table. */
async function readOf(sql: Queryable) {
  const [row] = await sql<{ scans: number; rows: number }[]>`
    SELECT seq_scan::int AS scans, (seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS rows
    FROM pg_stat_xact_user_tables WHERE relname = 'media_objects'`
  return row ?? { scans: 0, rows: 0 }
}

/** Of the calls that are gathered, for an object. */
const gathered: Record<string, (repository: Repository, id: string, caller: Caller) => Promise<unknown>> = {
  'gets, by their owner': (r, id, caller) => r.objects.findVisible(id, caller),
  'gets, by strangers': (r, id) => r.objects.findVisible(id, null),
  'owned objects': (r, id, caller) => r.objects.findOwned(id, caller),
  'objects with what was made of them': (r, id, caller) => r.renditions.find(id, caller, 'a version'),
  inserts: (r, _, { userId }) => r.uploads.insert(newObject({ userId })),
  activations: (r, id) => r.uploads.activate(id, arrived),
  removals: (r, id, caller) => r.objects.remove(id, caller),
  'sent events': (r, id, { userId }) => {
    const event = { id, userId, eventId: crypto.randomUUID(), seq: 1, occurredAt: '' }
    return r.outbox.settle([{ channel: 'photo:deleted', payload: event }])
  },
}

const page = { status: 'active', type: undefined, before: undefined, limit: 21 } as const

for (const { name, present, open } of databases) {
  const ROWS = SIZES[name] ?? 0
  describe.skipIf(!present)(`one person's ${ROWS} objects on ${name}`, () => {
    let database: OpenDatabase
    /** Of an object in the middle of the table. */
    let id = ''
    let key = ''
    beforeAll(async () => {
      database = await open({ migrated: true })
      const { sql } = database
      await sql`ALTER TABLE media_objects DISABLE TRIGGER USER`
      const insert = (status: string, from: number, to: number) => sql`
        INSERT INTO media_objects (id, user_id, original_name, mime_type, size_bytes, storage_key, links_until, status,
          metadata, idempotency_key, idempotency_hash, placeholder_due_at)
        SELECT id, ${owner.userId}, 'a.jpg', 'image/jpeg', 12, 'media/' || id || '/original.jpg', now(), ${status},
          '{"width": 1, "height": 1}', id, 'a hash', now()
        FROM (SELECT (lpad(to_hex(n), 12, '0') || '7000' || '8000' || lpad(to_hex(n), 12, '0'))::uuid AS id
          FROM generate_series(${from}::int, ${to}::int) AS n) AS made`
      await insert('active', 1, ROWS - RECENT)
      await sql`ANALYZE media_objects`
      // Of which the server's statistics know nothing yet.
      await insert('pending', ROWS - RECENT + 1, ROWS)
      await sql`ALTER TABLE media_objects ENABLE TRIGGER USER`
      const [middle] = await sql<{ id: string; key: string }[]>`
        SELECT id, storage_key AS key FROM media_objects ORDER BY id OFFSET ${ROWS / 2} LIMIT 1`
      id = middle?.id ?? ''
      key = middle?.key ?? ''
    }, 300_000)
    afterAll(() => database.close(), 30_000)

    const calls: Record<string, (repository: Repository) => Promise<unknown>> = {
      'get, by its owner': (r) => r.objects.findVisible(id, owner),
      'get, by a stranger': (r) => r.objects.findVisible(id, null),
      'the first page of a list': (r) => r.objects.list(owner.userId, page),
      'a page far down the list': (r) => r.objects.list(owner.userId, { ...page, before: id }),
      'a page of one type': (r) => r.objects.list(owner.userId, { ...page, type: 'image/*' }),
      'a page of the bin': (r) => r.objects.list(owner.userId, { ...page, status: 'deleted' }),
      'a list of ids': (r) => r.objects.listByIds(owner.userId, [id, uuidv7()]),
      'an insert': (r) => r.uploads.insert(newObject({ userId: owner.userId })),
      'an earlier request with the same key': (r) => r.uploads.findAttempt(owner.userId, id, 60),
      'a change': (r) => r.objects.update(id, owner, { visibility: 'public', publicKey: null }, changed),
      'a removal': (r) => r.objects.remove(id, owner),
      'a restoration': (r) => r.objects.restore(id, owner, restored),
      'an activation': (r) => r.uploads.activate(id, arrived),
      'what one owner has': (r) => r.owners.usage(owner.userId),
      'what the relay has to send': (r) => r.outbox.claim(100),
      'what has expired': (r) => r.purging.expire(100, { tried: true }),
      'what would expire without a look': (r) => r.arrivals.adopt(100),
      'whose bytes may have arrived': (r) => r.arrivals.claim(100),
      'whose hold has ended': (r) => r.holds.end(100),
      'a claim': (r) => r.holds.claim([id], owner.userId),
      'what has been in the bin for long': (r) => r.purging.retire(100),
      'what is to be purged': (r) => r.purging.claim(20),
      'what is to be swept': (r) => r.sweeps.claim(20),
      'whose placeholder is to be made': (r) => r.placeholders.claim(),
      'what is to be published': (r) => r.publicCopies.claim(),
      'what earlier decoders refused': (r) => r.outcomes.forget('other decoders', 100),
      'what is not to be public any more': (r) => r.publicCopies.withdrawUncleaned(100),
      'what an earlier version has moved': (r) => r.publicCopies.exposedAfter('', 100),
      'the erasure of what is stored': (r) => r.owners.eraseStored(owner.userId, 10),
      'the erasure of what is pending': (r) => r.owners.erasePending(owner.userId, 10),
      'what others must not get any more': (r) => r.transients.claim(100),
      'the end of its removal': (r) => r.transients.drop(id, [key], '1'),
      'the announcement of a move': (r) => r.transients.reserve(id, key, 1),
      'which ids have a row': (r) => r.keys.idsWithRow([id, uuidv7()]),
      'the keys of an object': (r) => r.sweeps.ownKeys(id),
      'which objects are to be swept': (r) => r.sweeps.schedule([id, uuidv7()]),
      'which keys are known': (r) => r.keys.known([key, 'media/x/original.jpg']),
    }

    describe.each([1, 8, 64])('%d at once', (count) => {
      test.each(Object.keys(gathered))('%s read a few rows for each by an index', async (call) => {
        await database.sql.begin(async (sql) => {
          const repository = createRepository({ sql, pendingSeconds: 100, retentionSeconds: 1000 })
          const some = await sql<
            { id: string }[]
          >`SELECT id FROM media_objects ORDER BY id OFFSET ${ROWS / 2} LIMIT ${count}`
          const all = () => Promise.all(some.map(({ id }) => gathered[call]?.(repository, id, owner)))
          for (let i = 0; i < 6; i++) await all()
          const before = await readOf(sql)
          await all()
          const after = await readOf(sql)
          expect(after.scans - before.scans).toBe(0)
          expect(after.rows - before.rows).toBeLessThan(100 + 8 * count)
        })
      })
    })

    test.each(Object.keys(calls))('%s reads a few rows by an index', async (call) => {
      await database.sql.begin(async (sql) => {
        const repository = createRepository({ sql, pendingSeconds: 100, retentionSeconds: 1000 })
        // The server makes a plan for all parameters only after it has seen some.
        for (let i = 0; i < 6; i++) await calls[call]?.(repository)
        const before = await readOf(sql)
        await calls[call]?.(repository)
        const after = await readOf(sql)
        // What the connection did shortly before the transaction may count, too.
        expect(after.scans - before.scans).toBe(0)
        expect(after.rows - before.rows).toBeLessThan(100)
      })
    })
  })
}

// How many objects the table has when the statements are planned, and how many more then come.
const YOUNG = 3
const MORE = 2000
const AT_ONCE = 8

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`a table that has grown since its statements were planned, on ${name}`, () => {
    let database: OpenDatabase
    beforeAll(async () => {
      database = await open({ migrated: true })
    }, 60_000)
    afterAll(() => database.close(), 30_000)

    test('gathered calls read a few rows for each by an index', async () => {
      await database.sql.begin(async (sql) => {
        const repository = createRepository({ sql, pendingSeconds: 100, retentionSeconds: 1000 })
        const make = async (count: number): Promise<string[]> => {
          const made = await sql<{ id: string }[]>`
            INSERT INTO media_objects (id, user_id, original_name, mime_type, size_bytes, storage_key, links_until, status,
              metadata, outbox, outbox_due_at)
            SELECT id, id, 'a.jpg', 'image/jpeg', 12, 'media/' || id || '/original.jpg', now(),
              CASE WHEN random() < 0.5 THEN 'pending' ELSE 'active' END, '{"width": 1, "height": 1}', '[{"seq": 1}]', now()
            FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, ${count}::int)) AS made RETURNING id`
          return made.map(({ id }) => id)
        }
        const all = (call: string, ids: string[]) =>
          Promise.all(ids.map((id) => gathered[call]?.(repository, id, { userId: id, role: 'user' })))
        const young = await make(YOUNG)
        // The server makes a plan for all parameters only after it has seen some.
        for (const call of Object.keys(gathered)) for (let i = 0; i < 6; i++) await all(call, young)
        const more = (await make(MORE)).slice(0, AT_ONCE)
        for (const call of Object.keys(gathered)) {
          const before = await readOf(sql)
          await all(call, more)
          const after = await readOf(sql)
          expect({ call, scans: after.scans - before.scans }).toEqual({ call, scans: 0 })
          expect(after.rows - before.rows).toBeLessThan(100 + 8 * AT_ONCE)
        }
      })
    })
  })
}
