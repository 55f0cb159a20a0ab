import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { POOL_CONNECTIONS, type Sql, within } from '../../src/db/connect.ts'
import { createGather } from '../../src/db/gather.ts'
import { type Kind, LOCKED } from '../../src/db/gathered-calls.ts'
import { until } from '../support/clock/until.ts'
import { refusal } from '../support/http/refusal.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'

type Change = { owner: string; id: string; text: string }

/** How many statements were sent for how many calls. */
type Sent = { together: number[]; alone: number }

/** Writes a text into a row of its owner, as the repository changes rows. */
function writing(sql: Sql, sent: Sent): Kind<Change, { text: string } | null> {
  return {
    idOf: ({ id }) => id,
    async together(changes, ms) {
      sent.together.push(changes.length)
      const given = sql.json(changes.map(({ owner, id, text }, n) => ({ n, by: owner, of: id, given: text })))
      const ids = changes.map(({ id }) => id)
      const rows = await within(
        sql<{ n: number; text: string | null; locked: boolean }[]>`
          WITH asked AS MATERIALIZED (
            SELECT n, of, by, given, there.id FROM jsonb_to_recordset(${given}) AS asked (n int, of uuid, by uuid, given text)
            LEFT JOIN LATERAL (SELECT id FROM gathered WHERE id = of AND owner = by OFFSET 0) AS there ON true),
          mine AS MATERIALIZED (
            SELECT n, given, gathered.id FROM asked JOIN gathered ON gathered.id = of
            WHERE gathered.id = ANY(${ids}::uuid[]) AND owner = by
            ORDER BY owner, gathered.id FOR UPDATE OF gathered SKIP LOCKED),
          done AS (
            UPDATE gathered SET text = given, changes = changes + 1 FROM mine WHERE gathered.id = mine.id RETURNING n, text)
          SELECT n, done.text, asked.id IS NOT NULL AND done.n IS NULL AS locked FROM asked LEFT JOIN done USING (n)
          ORDER BY n`,
        ms,
      )
      return rows.map(({ text, locked }) => (locked ? LOCKED : text === null ? null : { text }))
    },
    async alone({ owner, id, text }, ms) {
      sent.alone += 1
      const [row] = await within(
        sql<{ text: string }[]>`
          UPDATE gathered SET text = ${text}, changes = changes + 1 WHERE id = ${id} AND owner = ${owner} RETURNING text`,
        ms,
      )
      return row ?? null
    },
  }
}

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`gathered statements on ${name}`, () => {
    const connections = name === 'PGlite' ? 1 : POOL_CONNECTIONS
    const owner = crypto.randomUUID()
    let database: OpenDatabase
    let sent: Sent
    let write: (change: Change) => Promise<{ text: string } | null>
    beforeAll(async () => {
      database = await open()
      await database.sql`
        CREATE TABLE gathered (id uuid PRIMARY KEY, owner uuid NOT NULL, text text, changes int NOT NULL DEFAULT 0)`
    }, 60_000)
    afterAll(() => database.close(), 30_000)
    beforeEach(() => {
      sent = { together: [], alone: 0 }
      write = createGather(connections)(writing(database.sql, sent))
    })

    const make = async (count: number) => {
      const ids = Array.from({ length: count }, () => crypto.randomUUID())
      await database.sql`INSERT INTO gathered (id, owner) SELECT id, ${owner} FROM unnest(${ids}::uuid[]) AS id`
      return ids
    }
    const changesOf = async (ids: string[]) => {
      const rows = await database.sql<{ changes: number }[]>`
        SELECT changes FROM gathered WHERE id = ANY(${ids}::uuid[])`
      return rows.map(({ changes }) => changes)
    }

    test('each call gets the answer for its own row; what is foreign or absent gets none', async () => {
      const [one = '', other = ''] = await make(2)
      const answers = await Promise.all([
        write({ owner, id: one, text: 'one' }),
        write({ owner: crypto.randomUUID(), id: other, text: 'foreign' }),
        write({ owner, id: crypto.randomUUID(), text: 'absent' }),
        write({ owner, id: other, text: 'other' }),
      ])
      expect(answers).toEqual([{ text: 'one' }, null, null, { text: 'other' }])
      expect(sent).toEqual({ together: [3], alone: 1 })
    })

    test('the fault of one call is its own, and the others are done once', async () => {
      const ids = await make(20)
      const answers = await Promise.allSettled(
        ids.map((id, i) => write({ owner, id, text: i === 7 ? 'a NUL: \0' : `text ${i}` })),
      )
      expect(answers.map(({ status }) => status === 'fulfilled')).toEqual(ids.map((_, i) => i !== 7))
      expect((await changesOf(ids)).toSorted()).toEqual([0, ...ids.slice(1).map(() => 1)])
    })

    test('two calls for one row are done one after the other', async () => {
      const [id = ''] = await make(1)
      const texts = Array.from({ length: 10 }, (_, i) => `text ${i}`)
      const answers = await Promise.all(texts.map((text) => write({ owner, id, text })))
      expect(answers).toEqual(texts.map((text) => ({ text })))
      expect(await changesOf([id])).toEqual([10])
    })

    test.skipIf(connections === 1)('a row that somebody else has locked holds up its own call only', async () => {
      const ids = await make(200)
      const [locked = '', ...free] = ids
      const [isLocked, unlocked] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const locking = database.connectAgain().begin(async (transaction) => {
        await transaction`SELECT FROM gathered WHERE id = ${locked} FOR UPDATE`
        isLocked.resolve()
        await unlocked.promise
      })
      await isLocked.promise
      let answered = false
      const held = write({ owner, id: locked, text: 'late' }).finally(() => {
        answered = true
      })
      const answers = await Promise.all(free.map((id) => write({ owner, id, text: 'free' })))
      expect(answers).toEqual(free.map(() => ({ text: 'free' })))
      expect(answered).toBe(false)
      unlocked.resolve()
      expect(await held).toEqual({ text: 'late' })
      await locking
      expect(sent.alone).toBe(1)
    })

    test.skipIf(connections === 1)('replicas that change the same rows in opposite orders never deadlock', async () => {
      const ids = await make(60)
      const before = await deadlocks(database.sql)
      const replicas = Array.from({ length: 4 }, () =>
        createGather(connections)(writing(database.connectAgain(), { together: [], alone: 0 })),
      )
      for (let round = 0; round < 5; round++) {
        const calls = replicas.flatMap((write, i) => {
          const order = i % 2 === 0 ? ids : ids.toReversed()
          return order.map((id) => write({ owner, id, text: `${i}` }))
        })
        for (const answer of await Promise.all(calls)) expect(answer).not.toBeNull()
      }
      expect(await changesOf(ids)).toEqual(ids.map(() => 20))
      expect(await deadlocks(database.sql)).toBe(before)
    })

    test.skipIf(connections === 1)(
      'after a broken connection each gets an outage, and nothing is sent again',
      async () => {
        const sent: number[][] = []
        const sql = database.connectAgain()
        const sleep = createGather(connections)<number, object>({
          async together(items, ms) {
            sent.push(items)
            const [row] = await within(sql<{ pid: number }[]>`SELECT pg_backend_pid() AS pid, pg_sleep(30)`, ms)
            return items.map(() => row ?? {})
          },
        })
        const calls = [1, 2, 3].map((item) => refusal(sleep(item)))
        await until(async () => {
          const ended = await database.sql`
          SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_sleep(30)%'`
          return ended.length > 0
        })
        for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: 'database_unavailable' })
        expect(sent).toEqual([[1, 2, 3]])
      },
    )
  })
}

async function deadlocks(sql: Sql): Promise<number> {
  const [row] = await sql<{ deadlocks: number }[]>`
    SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`
  return row?.deadlocks ?? 0
}
