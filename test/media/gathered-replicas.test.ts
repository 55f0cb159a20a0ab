/** Replicas that change the same rows at once: in opposite orders, with connections that count in the same shares. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import pLimit from 'p-limit'
import { POOL_CONNECTIONS, type Sql } from '../../src/db/connect.ts'
import type { NewObject } from '../../src/media/object/new-object.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { until } from '../support/clock/until.ts'
import { arrived, callerOf, newObject } from '../support/media/objects.ts'
import { type OpenDatabase, openPostgres } from '../support/services/databases.ts'
import { haveServices } from '../support/services/shared.ts'

const CONNECTIONS = 40
const OWNERS = 64
const ROUNDS = 2
const AT_ONCE = 4
/** Of `media_count_usage`: a connection counts in the share of its process id. */
const SHARES = 32

// What is deleted may be purged at once, and nobody has a link.
const settings = { pendingSeconds: 1000, retentionSeconds: 0 }
const withoutLink = { linksSeconds: 0 }

/** `pid`: of the server's process for its connection. */
type Replica = { repository: Repository; pid: number }
type Tally = { activated: string[]; removed: string[]; forgotten: string[]; kept: NewObject[] }

describe.skipIf(!(await haveServices()))(`${CONNECTIONS} connections in opposite orders`, () => {
  let database: OpenDatabase
  let pools: Sql[]
  /** Each of one connection, so that all of them are at work at the same time. */
  let replicas: Replica[]
  beforeAll(async () => {
    database = await openPostgres({ migrated: true })
    pools = Array.from({ length: CONNECTIONS / POOL_CONNECTIONS }, () => database.connectAgain())
    replicas = (await Promise.all(pools.map(openAll))).flat()
  }, 120_000)
  afterAll(() => database.close(), 30_000)

  test('insert, activate, delete and purge of the same objects: no deadlock, one winner each, all counted', async () => {
    const inShares = [...Map.groupBy(replicas, ({ pid }) => pid % SHARES).values()]
    expect(inShares.length).toBeLessThan(CONNECTIONS)
    const repository = createRepository({ sql: database.sql, ...settings })
    const before = await deadlocks(database.sql)
    const owners = Array.from({ length: OWNERS }, () => crypto.randomUUID())
    const tally: Tally = { activated: [], removed: [], forgotten: [], kept: [] }
    const all: NewObject[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const objects = owners.map((userId) => newObject({ userId, sizeBytes: null, ...withoutLink }))
      await Promise.all(objects.map(repository.uploads.insert))
      all.push(...objects)
      // Of those that count in the same share, every other one goes the other way.
      const lives = inShares.flatMap((sharing) =>
        sharing.map((replica, i) => live(replica.repository, i % 2 === 0 ? objects : objects.toReversed(), tally)),
      )
      await Promise.all(lives)
    }
    while ((await purge(repository, tally)) > 0);
    const ids = all.map(({ id }) => id).toSorted()
    for (const won of [tally.activated, tally.removed, tally.forgotten]) expect(won.toSorted()).toEqual(ids)
    for (const userId of owners) {
      const objects = tally.kept.filter((object) => object.userId === userId).length
      expect(objects).toBe(ROUNDS * CONNECTIONS)
      expect(await repository.owners.usage(userId)).toMatchObject({ objects, bytes: objects * 12 })
    }
    expect(await deadlocksAfter(database.sql, pools, replicas)).toBe(before)
  }, 120_000)
})

/** A replica for each connection of a pool. */
async function openAll(pool: Sql): Promise<Replica[]> {
  const places = Array.from({ length: POOL_CONNECTIONS })
  // All at once; one that is not open yet is never reserved (postgres.js 3.4.9).
  await Promise.all(places.map(() => pool`SELECT pg_sleep(0.2)`))
  const connections = await Promise.all(places.map(() => pool.reserve()))
  return Promise.all(
    connections.map(async (sql) => {
      const [row] = await sql<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`
      return { repository: createRepository({ sql, ...settings }), pid: row?.pid ?? 0 }
    }),
  )
}

/** What one replica does to each of the objects, many at once, and to what is purged meanwhile. */
async function live(replica: Repository, objects: NewObject[], tally: Tally): Promise<void> {
  // With all of them at once, a call would wait on a slow machine longer than a call to the database may.
  const several = pLimit(AT_ONCE)
  await several.map(objects, async (object) => {
    const more = newObject({ userId: object.userId })
    expect(await replica.uploads.insert(more)).toBe('inserted')
    tally.kept.push(more)
    // Another size than declared changes what its owner has.
    const activated = await replica.uploads.activate(object.id, { ...arrived, sizeBytes: 5 })
    if (activated !== null) {
      tally.activated.push(object.id)
      await replica.outbox.settle(activated.outbox)
    }
    const removed = await replica.objects.remove(object.id, callerOf(object))
    if (removed !== null) {
      tally.removed.push(object.id)
      await replica.outbox.settle(removed.outbox)
    }
    await purge(replica, tally)
  })
}

/** What upkeep does with what is deleted; returns how many objects it had to do with. */
async function purge(replica: Repository, tally: Tally): Promise<number> {
  const retired = await replica.purging.retire(20)
  for (const { outbox } of retired) await replica.outbox.settle(outbox)
  const claimed = await replica.purging.claim(20)
  for (const { id } of claimed) {
    await replica.purging.postpone(id)
    if (await replica.purging.forget(id)) tally.forgotten.push(id)
  }
  return retired.length + claimed.length
}

/** Deadlocks that the server has had to break in this database, with an error for one of the two. */
async function deadlocks(sql: Sql): Promise<number> {
  const [row] = await sql<{ deadlocks: number }[]>`
    SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()`
  return row?.deadlocks ?? 0
}

/** The same once these connections are gone: what they count may show a second late until then. */
async function deadlocksAfter(sql: Sql, pools: Sql[], replicas: Replica[]): Promise<number> {
  await Promise.all(pools.map((pool) => pool.end({ timeout: 1 })))
  await until(async () => {
    const left = await sql<{ pid: number }[]>`SELECT pid FROM pg_stat_activity WHERE datname = current_database()`
    return !left.some(({ pid }) => replicas.some((replica) => replica.pid === pid))
  })
  return deadlocks(sql)
}
