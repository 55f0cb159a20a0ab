import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { createHealthStatements } from '../../src/media/table/health.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { arrived, callerOf, changed, newObject } from '../support/media/objects.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`the backlog on ${name}`, () => {
    let database: OpenDatabase
    let repository: Repository
    beforeAll(async () => {
      database = await open({ migrated: true })
      repository = createRepository({ sql: database.sql, pendingSeconds: 100, retentionSeconds: 1000 })
    }, 60_000)
    beforeEach(async () => {
      await database.sql`TRUNCATE media_objects`
    })
    afterAll(() => database.close(), 30_000)

    const nothing = {
      ...{ owed: 0, oldestOwed: 0, setAside: 0, pending: 0, oldestPending: 0 },
      ...{ deleted: 0, oldestDeleted: 0, purging: 0 },
    }
    /** So many copies of an object, changed by the SET clauses. */
    const fill = (count: number, status: string) => database.sql`
      INSERT INTO media_objects
        (id, user_id, original_name, mime_type, size_bytes, storage_key, links_until, status, upkeep_due_at, status_changed_at)
      SELECT gen_random_uuid(), gen_random_uuid(), 'a', 'image/jpeg', 1, gen_random_uuid()::text, now(), ${status},
        CASE WHEN ${status} = 'purging' THEN now() END, now() - n * interval '1 second'
      FROM generate_series(1, ${count}::int) AS n`

    test('is zero for an empty table', async () => {
      expect(await repository.health.backlog()).toEqual(nothing)
    })

    test('counts what is not active, and events by their number', async () => {
      const objects = [newObject(), newObject(), newObject(), newObject()] as const
      for (const object of objects) await repository.uploads.insert(object)
      const [, active, deleted, purging] = objects
      await repository.uploads.activate(active.id, arrived)
      await repository.objects.update(active.id, callerOf(active), { visibility: 'public', publicKey: null }, changed)
      await repository.uploads.activate(deleted.id, arrived)
      await repository.objects.remove(deleted.id, callerOf(deleted))
      await repository.uploads.abandon(purging.id)
      await database.sql`
        UPDATE media_objects SET
          status_changed_at = now() - interval '1 hour',
          outbox = jsonb_set(outbox, '{0,payload,occurredAt}', to_jsonb(now() - interval '2 hours'))
        WHERE id IN (${objects[0].id}, ${deleted.id})`
      const found = await repository.health.backlog()
      expect(found).toMatchObject({ owed: 4, pending: 1, deleted: 1, purging: 1 })
      expect(found.oldestPending).toBeWithin(3600, 3700)
      expect(found.oldestDeleted).toBeWithin(3600, 3700)
      expect(found.oldestOwed).toBeWithin(7200, 7300)
    })

    test('is found without reading the table, however large that is, and stops counting', async () => {
      await database.sql`ALTER TABLE media_objects DISABLE TRIGGER USER`
      await fill(name === 'PGlite' ? 50_000 : 150_000, 'active')
      await fill(10_100, 'pending')
      await fill(50, 'deleted')
      await fill(50, 'purging')
      await database.sql`ANALYZE media_objects`
      await database.sql.begin(async (sql) => {
        const { backlog } = createHealthStatements({ sql })
        // The server makes a plan for all parameters only after it has seen some.
        for (let i = 0; i < 8; i += 1)
          expect(await backlog()).toMatchObject({ pending: 10_000, deleted: 50, purging: 50, owed: 0 })
        const [read] = await sql`
          SELECT seq_scan::int FROM pg_stat_xact_user_tables WHERE relname = 'media_objects'`
        expect(read).toEqual({ seq_scan: 0 })
      })
    }, 180_000)
  })
}
