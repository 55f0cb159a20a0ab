import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { connect, within } from '../../src/db/connect.ts'
import type { Sql } from '../../src/db/sql.ts'
import { until } from '../support/clock/until.ts'
import { createDatabase, type TestDatabase } from '../support/services/database.ts'
import { haveServices } from '../support/services/shared.ts'

describe.skipIf(!(await haveServices()))('a statement', () => {
  let database: TestDatabase
  let owner: Sql
  beforeAll(async () => {
    database = await createDatabase()
    owner = connect({ url: database.url })
    await owner`CREATE TABLE counts (name text PRIMARY KEY, n int NOT NULL)`
    await owner`INSERT INTO counts VALUES ('a', 0), ('b', 0), ('c', 0)`
  }, 30_000)
  afterAll(async () => {
    await owner.end({ timeout: 1 })
    await database.drop()
  }, 30_000)

  // SQLSTATE 40001
  test('that is rolled back in favour of another one is repeated, and counts once', async () => {
    const url = new URL(database.url)
    url.searchParams.set('default_transaction_isolation', 'repeatable read')
    const sql = connect({ url: url.href, connections: 1 })
    const [{ pid } = expect.unreachable()] = await sql<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`
    const ready = Promise.withResolvers<void>()
    const done = Promise.withResolvers<void>()
    const holding = owner.begin(async (tx) => {
      await tx`UPDATE counts SET n = n + 10 WHERE name = 'a'`
      ready.resolve()
      await done.promise
    })
    await ready.promise
    const counted = within(sql`UPDATE counts SET n = n + 1 WHERE name = 'a' RETURNING n`)
    await until(async () => {
      const [row] = await owner`SELECT wait_event_type AS waits FROM pg_stat_activity WHERE pid = ${pid}`
      return row?.waits === 'Lock'
    })
    done.resolve()
    await holding
    expect([...(await counted)]).toEqual([{ n: 11 }])
    await sql.end({ timeout: 1 })
  })

  // SQLSTATE 25006. Connections keep the defaults of the moment at which they were opened, as they stay with a server
  // that was demoted.
  test('on a connection that takes no changes is an outage, after which others take its place', async () => {
    const sql = connect({ url: database.url })
    const change = () => within(sql`UPDATE counts SET n = n + 1 WHERE name = 'b' RETURNING n`)
    await owner.unsafe(
      `ALTER DATABASE ${new URL(database.url).pathname.slice(1)} SET default_transaction_read_only = on`,
    )
    try {
      await expect(change()).rejects.toMatchObject({ code: 'database_unavailable' })
    } finally {
      await owner.unsafe(
        `ALTER DATABASE ${new URL(database.url).pathname.slice(1)} RESET default_transaction_read_only`,
      )
    }
    expect([...(await change())]).toEqual([{ n: 1 }])
    await sql.end({ timeout: 1 })
  })

  // SQLSTATE 55P03
  test('that waits for a lock longer than it may is an outage', async () => {
    const url = new URL(database.url)
    url.searchParams.set('lock_timeout', '50')
    const sql = connect({ url: url.href })
    await owner.begin(async (tx) => {
      await tx`UPDATE counts SET n = n + 1 WHERE name = 'c'`
      const change = within(sql`UPDATE counts SET n = n + 1 WHERE name = 'c'`)
      await expect(change).rejects.toMatchObject({ code: 'database_unavailable' })
    })
    await sql.end({ timeout: 1 })
  })

  // SQLSTATE 57P01
  test('whose connection the server ends is an outage', async () => {
    const sql = connect({ url: database.url, connections: 1 })
    const sleeping = within(sql`SELECT pg_sleep(60) /* to be ended */`)
    await until(async () => {
      const ended = await owner`
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%/* to be ended */' AND pid <> pg_backend_pid()`
      return ended.length === 1
    })
    await expect(sleeping).rejects.toMatchObject({ code: 'database_unavailable' })
    expect([...(await within(sql`SELECT 1 AS one`))]).toEqual([{ one: 1 }])
    await sql.end({ timeout: 1 })
  })
})
