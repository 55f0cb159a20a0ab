import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { connect, within } from '../../src/db/connect.ts'
import { migrate } from '../../src/db/migrate.ts'
import { carriesPreparedStatements } from '../../src/db/pooler.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { arrived, callerOf, newObject } from '../support/media/objects.ts'
import { createDatabase, type TestDatabase } from '../support/services/database.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import type { ServiceControl } from '../support/services/native.ts'
import { findNewer, haveNewer } from '../support/services/newer.ts'
import { findPgBouncer, havePgBouncer, pgBouncerCarries, startPgBouncer } from '../support/services/pgbouncer.ts'
import { haveServices } from '../support/services/shared.ts'

const present = (await haveServices()) && havePgBouncer()

test.skipIf(!(await haveServices()))('a server without a pooler carries prepared statements', async () => {
  const database = await createDatabase()
  expect(await carriesPreparedStatements(database.url)).toBeTrue()
  await database.drop()
})

const newer = haveNewer('pgbouncer') ? [{ mode: 'transaction', newer: true } as const] : []
test.skipIf(newer.length === 0)(
  'one of these versions of PgBouncer carries prepared statements in transaction mode',
  async () => {
    expect(await pgBouncerCarries(findNewer('pgbouncer'))).toBeTrue()
  },
)

for (const { mode, ...version } of [
  { mode: 'transaction', newer: false } as const,
  { mode: 'session', newer: false } as const,
  ...newer,
]) {
  describe.skipIf(!present)(`behind ${version.newer ? 'a newer ' : ''}PgBouncer in ${mode} mode`, () => {
    const program = version.newer ? findNewer('pgbouncer') : findPgBouncer()
    let folder: Folder
    let database: TestDatabase
    let pooler: ServiceControl
    beforeAll(async () => {
      folder = await createFolder()
      database = await createDatabase()
      pooler = await startPgBouncer(folder.path, database.url, mode, version)
    }, 60_000)
    afterAll(async () => {
      await pooler.stop()
      await database.drop()
      await folder.remove()
    }, 30_000)

    test('is found out the same under load of other clients, which take and return sessions all the time', async () => {
      const expected = mode === 'session' || (await pgBouncerCarries(program))
      let over = false
      const others = Array.from({ length: 6 }, async () => {
        const sql = postgres(pooler.url, { max: 1, prepare: false, onnotice: () => {} })
        while (!over) await sql`SELECT pg_sleep(0.001)`
        await sql.end()
      })
      const found: boolean[] = []
      for (let round = 0; round < 10; round++) found.push(await carriesPreparedStatements(pooler.url))
      over = true
      await Promise.all(others)
      expect(found).toEqual(found.map(() => expected))
    }, 60_000)

    test('is found out at run time, too, and costs no call', async () => {
      const carries = mode === 'session' || (await pgBouncerCarries(program))
      let plain = 0
      const replicas = Array.from({ length: 2 }, () =>
        connect({ url: pooler.url, prepare: true, onPlain: () => plain++ }),
      )
      const ask = async (i: number) => {
        const [sql = expect.unreachable()] = [replicas[i % 2]]
        const [row] = await within(sql<{ n: number }[]>`SELECT ${i}::int AS n, pg_sleep(0.002)`)
        return row?.n
      }
      for (let i = 0; i < 200; i += 4)
        expect(await Promise.all([ask(i), ask(i + 1), ask(i + 2), ask(i + 3)])).toEqual([i, i + 1, i + 2, i + 3])
      expect(plain).toBe(carries ? 0 : 2)
      for (const sql of replicas) await sql.end({ timeout: 1 })
    }, 60_000)

    test('is found out whether it carries prepared statements, and every change is stored as it should be', async () => {
      const prepare = await carriesPreparedStatements(pooler.url)
      expect(prepare).toBe(mode === 'session' || (await pgBouncerCarries(program)))
      // Two replicas, so that sessions change hands.
      const replicas = [connect({ url: pooler.url, prepare }), connect({ url: pooler.url, prepare })]
      for (const sql of replicas) await migrate(sql)
      const lives = Array.from({ length: 60 }, async (_, i) => {
        const [sql = replicas[0]] = [replicas[i % 2]]
        if (sql === undefined) return
        const repository = createRepository({ sql, pendingSeconds: 100, retentionSeconds: 1000 })
        const object = newObject()
        expect(await repository.uploads.insert(object)).toBe('inserted')
        expect(await repository.uploads.activate(object.id, arrived)).not.toBeNull()
        const removed = await repository.objects.remove(object.id, callerOf(object))
        await repository.outbox.settle(removed?.outbox ?? [])
      })
      await Promise.all(lives)
      const [found] = await (replicas[0] ?? expect.unreachable())`
        SELECT count(*) AS rows, count(*) FILTER (WHERE media_has_shapes(metadata, renditions, outbox)) AS fine,
          count(*) FILTER (WHERE outbox = '[]') AS settled
        FROM media_objects`
      expect(found).toEqual({ rows: 60, fine: 60, settled: 60 })
      for (const sql of replicas) await sql.end({ timeout: 1 })
    }, 60_000)
  })
}
