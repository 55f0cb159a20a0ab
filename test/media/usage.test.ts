import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { connect } from '../../src/db/connect.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { newObject } from '../support/media/objects.ts'
import { createDatabase, type TestDatabase } from '../support/services/database.ts'
import { haveServices } from '../support/services/shared.ts'

describe.skipIf(!(await haveServices()))('what an owner has', () => {
  let database: TestDatabase
  let repository: Repository
  let handle: ReturnType<typeof connect>
  let sql: postgres.Sql
  beforeAll(async () => {
    database = await createDatabase({ migrated: true })
    handle = connect({ url: database.url })
    repository = createRepository({ sql: handle, pendingSeconds: 100, retentionSeconds: 1000 })
    sql = postgres(database.url, { max: 10 })
  }, 60_000)
  afterAll(async () => {
    await Promise.all([sql.end(), handle.end()])
    await database.drop()
  }, 30_000)

  const add = (to: postgres.TransactionSql | postgres.Sql, userId: string, bytes: number) => to`
    INSERT INTO media_objects (id, user_id, original_name, mime_type, size_bytes, storage_key, links_until)
    SELECT id, ${userId}, 'a', 'image/jpeg', ${bytes}, id::text, now() FROM gen_random_uuid() AS id`

  const shareOf = async (on: postgres.TransactionSql) =>
    (await on<{ share: number }[]>`SELECT pg_backend_pid() % 32 AS share`)[0]?.share

  /** From a connection with another share than this one; two of them rarely have the same. */
  async function addElsewhere(share: number | undefined, userId: string, bytes: number): Promise<void> {
    await sql.begin(async (other) => {
      if ((await shareOf(other)) === share) return addElsewhere(share, userId, bytes)
      await other`SET LOCAL lock_timeout = '2s'`
      await add(other, userId, bytes)
    })
  }

  test('is counted without waiting for uncommitted transactions that add to it', async () => {
    const userId = crypto.randomUUID()
    await sql.begin(async (first) => {
      await add(first, userId, 1)
      await addElsewhere(await shareOf(first), userId, 10)
      expect(await repository.owners.usage(userId)).toEqual({ bytes: 10, objects: 1 })
    })
    expect(await repository.owners.usage(userId)).toEqual({ bytes: 11, objects: 2 })
  })

  test('leaves nothing behind when all of it goes at once', async () => {
    const objects = Array.from({ length: 40 }, () => newObject({ userId: '0190f6a2-7c5e-4d52-b54b-3f7c1f0e6a11' }))
    await Promise.all(objects.map((object) => repository.uploads.insert(object)))
    const [owner] = objects
    expect(await repository.owners.usage(owner?.userId ?? '')).toEqual({ bytes: 40 * 12, objects: 40 })
    await Promise.all(objects.map(({ id }) => sql`DELETE FROM media_objects WHERE id = ${id}`))
    expect(await repository.owners.usage(owner?.userId ?? '')).toEqual({ bytes: 0, objects: 0 })
    expect(await sql`SELECT * FROM media_usage_shares WHERE user_id = ${owner?.userId ?? ''}`).toHaveLength(0)
  })
})
