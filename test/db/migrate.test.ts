import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { migrate } from '../../src/db/migrate.ts'
import { MIGRATIONS_FOLDER } from '../../src/db/migrations.ts'
import { refusal } from '../support/http/refusal.ts'
import { databases, type OpenDatabase, openPostgres } from '../support/services/databases.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { haveServices } from '../support/services/shared.ts'

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`migrations on ${name}`, () => {
    let database: OpenDatabase
    let folder: Folder
    beforeAll(async () => {
      database = await open()
    }, 60_000)
    afterAll(() => database.close(), 30_000)
    beforeEach(async () => {
      folder = await createFolder()
    })
    afterEach(async () => {
      await folder.remove()
      await database.sql.unsafe('DROP SCHEMA public CASCADE; CREATE SCHEMA public')
    })

    const write = (file: string, text: string) => writeFile(join(folder.path, file), text)
    const run = () => migrate(database.sql, folder.path)
    const steps = async () => (await database.sql<{ step: string }[]>`SELECT step FROM steps`).map(({ step }) => step)
    const tables = async () => {
      const rows = await database.sql<{ name: string }[]>`
        SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1`
      return rows.map((row) => row.name)
    }

    test('are applied in the order of their names, each once, new ones after old ones', async () => {
      await write('0002_b.sql', "INSERT INTO steps (step) VALUES ('b1'); INSERT INTO steps (step) VALUES ('b2');")
      await write('0001_a.sql', 'CREATE TABLE steps (at serial, step text)')
      await write('notes.txt', 'not SQL')
      expect(await run()).toEqual(['0001_a.sql', '0002_b.sql'])
      expect(await run()).toEqual([])
      await write('0003_c.sql', "INSERT INTO steps (step) VALUES ('c')")
      expect(await run()).toEqual(['0003_c.sql'])
      expect(await run()).toEqual([])
      expect(await steps()).toEqual(['b1', 'b2', 'c'])
    })

    test('the service applies each of its migrations once', async () => {
      const applied = await migrate(database.sql)
      expect(applied[0]).toBe('0001_media_objects.sql')
      expect(applied).toEqual(applied.toSorted())
      expect(await migrate(database.sql, MIGRATIONS_FOLDER)).toEqual([])
      expect(await tables()).toContain('media_objects')
    })

    test('are applied once by five replicas that start together', async () => {
      await write('0001_a.sql', 'CREATE TABLE steps (step text)')
      await write('0002_b.sql', "SELECT pg_sleep(0.1); INSERT INTO steps VALUES ('b')")
      const applied = await Promise.all(Array.from({ length: 5 }, () => migrate(database.connectAgain(), folder.path)))
      expect(applied.flat().sort()).toEqual(['0001_a.sql', '0002_b.sql'])
      expect(await steps()).toEqual(['b'])
    })

    test('leave nothing of a file that fails, and go on from there when it is mended', async () => {
      await write('0001_a.sql', 'CREATE TABLE steps (step text)')
      await write('0002_b.sql', "CREATE TABLE half (x int); INSERT INTO steps VALUES ('b'); SELECT 1 / 0;")
      await write('0003_c.sql', "INSERT INTO steps VALUES ('c')")
      expect((await refusal(run())).message).toContain('division by zero')
      expect(await tables()).toEqual(['media_migrations', 'steps'])
      expect(await steps()).toEqual([])
      await write('0002_b.sql', "INSERT INTO steps VALUES ('b')")
      expect(await run()).toEqual(['0002_b.sql', '0003_c.sql'])
      expect(await steps()).toEqual(['b', 'c'])
    })

    test('without a transaction run statement by statement, and go on where they were interrupted', async () => {
      await write('0001_a.sql', 'CREATE TABLE media_objects (x int); INSERT INTO media_objects VALUES (1), (2)')
      const indexes = `-- no transaction
-- A comment; with a semicolon.
CREATE INDEX CONCURRENTLY IF NOT EXISTS by_x ON media_objects (x);
CREATE INDEX CONCURRENTLY IF NOT EXISTS by_xx ON media_objects ((x * 2));
`
      await write('0002_b.sql', `${indexes}SELECT 1 / (count(*) - 2) FROM media_objects;\n`)
      expect((await refusal(run())).message).toContain('division by zero')
      await write('0002_b.sql', indexes)
      expect(await run()).toEqual(['0002_b.sql'])
      const names = await database.sql`
        SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid
        WHERE indrelid = 'media_objects'::regclass AND indisvalid ORDER BY 1`
      expect(names.map(({ relname }) => relname)).toEqual(['by_x', 'by_xx'])
    })

    test('stop when a file that was applied has changed, before anything new is applied', async () => {
      await write('0001_a.sql', 'CREATE TABLE steps (step text)')
      await run()
      await write('0001_a.sql', 'CREATE TABLE steps (step text) -- changed')
      await write('0002_b.sql', "INSERT INTO steps VALUES ('b')")
      expect((await refusal(run())).message).toContain('migration 0001_a.sql was changed after it was applied')
      expect(await steps()).toEqual([])
    })

    test('stop when a new file is numbered below one that was applied', async () => {
      await write('0002_b.sql', 'CREATE TABLE steps (step text)')
      await run()
      await write('0001_a.sql', 'CREATE TABLE other (step text)')
      expect((await refusal(run())).message).toContain('0001_a.sql is new, but 0002_b.sql was applied')
      expect(await tables()).toEqual(['media_migrations', 'steps'])
    })

    test('stop when a file that was applied is missing, also when all of them are', async () => {
      await write('0001_a.sql', 'CREATE TABLE steps (step text)')
      await run()
      await rm(join(folder.path, '0001_a.sql'))
      expect((await refusal(run())).message).toContain('no migration files')
      await write('0002_b.sql', "INSERT INTO steps VALUES ('b')")
      expect((await refusal(run())).message).toContain(
        'migration 0001_a.sql was applied to this database, but its file is missing',
      )
      expect(await steps()).toEqual([])
    })
  })
}

describe.skipIf(!(await haveServices()))('migrations beside traffic', () => {
  let database: OpenDatabase
  let folder: Folder
  beforeAll(async () => {
    database = await openPostgres()
    folder = await createFolder()
    await writeFile(join(folder.path, '0001_a.sql'), 'CREATE TABLE media_objects (x int)')
    await migrate(database.sql, folder.path)
  }, 60_000)
  afterAll(async () => {
    await database.close()
    await folder.remove()
  }, 30_000)

  test('never make statements wait behind a lock that they wait for themselves', async () => {
    await writeFile(join(folder.path, '0002_b.sql'), 'ALTER TABLE media_objects ADD COLUMN y int')
    const other = database.connectAgain()
    const read = Promise.withResolvers<void>()
    const over = Promise.withResolvers<void>()
    const holder = other.begin(async (tx) => {
      await tx`SELECT * FROM media_objects`
      read.resolve()
      await over.promise
    })
    await read.promise
    const migrated = migrate(database.sql, folder.path)
    // Several times as long as a statement of a migration waits for its lock.
    const end = performance.now() + 4000
    let slowest = 0
    while (performance.now() < end) {
      const start = performance.now()
      await database.connectAgain()`INSERT INTO media_objects (x) VALUES (1)`
      slowest = Math.max(slowest, performance.now() - start)
    }
    over.resolve()
    await holder
    expect(await migrated).toEqual(['0002_b.sql'])
    expect(slowest).toBeLessThan(3000)
  }, 60_000)

  test('mend an index whose build was interrupted', async () => {
    await database.sql`INSERT INTO media_objects (x) VALUES (7), (7)`
    // As a build leaves it that ended in the middle.
    await refusal(database.sql`CREATE UNIQUE INDEX CONCURRENTLY broken ON media_objects (x)`)
    await writeFile(
      join(folder.path, '0003_c.sql'),
      '-- no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS broken ON media_objects (x);\n',
    )
    expect(await migrate(database.sql, folder.path)).toEqual(['0003_c.sql'])
    const [row] = await database.sql`SELECT indisvalid, indisunique FROM pg_index WHERE indexrelid = 'broken'::regclass`
    expect(row).toEqual({ indisvalid: true, indisunique: false })
  })

  test('leave an invalid index alone that another has begun to build', async () => {
    await refusal(database.sql`CREATE UNIQUE INDEX CONCURRENTLY operators ON media_objects (x)`)
    await writeFile(
      join(folder.path, '0004_d.sql'),
      '-- no transaction\n-- Not CREATE INDEX CONCURRENTLY operators.\nCREATE INDEX CONCURRENTLY IF NOT EXISTS own ON media_objects (x);\n',
    )
    expect(await migrate(database.sql, folder.path)).toEqual(['0004_d.sql'])
    const rows = await database.sql`
      SELECT indexrelid::regclass::text AS name, indisvalid AS valid FROM pg_index
      WHERE indexrelid IN (to_regclass('operators'), to_regclass('own')) ORDER BY 1`
    expect([...rows]).toEqual([
      { name: 'operators', valid: false },
      { name: 'own', valid: true },
    ])
  })
})
