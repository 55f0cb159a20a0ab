import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { v7 as uuidv7 } from 'uuid'
import { databases, type OpenDatabase } from '../support/services/databases.ts'

/**
 * postgres.js sends a statement again, with parameters that are text already, when the server says that its plan is old.
 * Without `once` in connect.ts each of these stores something else the second time.
 */
for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`a statement whose plan became old on ${name}`, () => {
    let database: OpenDatabase
    beforeAll(async () => {
      database = await open()
      await database.sql`CREATE TABLE things (id int, value jsonb, flag boolean, ids uuid[], names varchar[])`
    }, 60_000)
    afterAll(() => database.close(), 30_000)

    test('stores the same parameters as the first time', async () => {
      const sql = database.connectAgain()
      const ids = [uuidv7(), uuidv7()]
      const names = ['plain', 'with "quotes", \\ and {braces}']
      const value = { width: 3, text: 'with "quotes"', list: ['a'] }
      const insert = async (id: number) => {
        const [row] = await sql`
          INSERT INTO things (id, value, flag, ids, names)
          VALUES (${id}, ${sql.json(value)}, ${sql.types.boolean(true)}, ${sql.types.uuids(ids)}, ${sql.types.varchars(names)})
          RETURNING *`
        expect(row).toMatchObject({ id, value, flag: true })
      }
      // One after the other: several at once on a connection, repeated, hang until their deadline (postgres.js 3.4.9).
      for (let i = 0; i < 5; i++) await insert(1)
      await sql`ALTER TABLE things ADD COLUMN more int`
      for (let i = 0; i < 5; i++) await insert(2)
      const [row] = await sql`
        SELECT count(*) AS rows, count(DISTINCT (value, flag, ids, names)) AS kinds, min(jsonb_typeof(value)) AS type
        FROM things`
      expect(row).toEqual({ rows: 10, kinds: 1, type: 'object' })
      const [stored] =
        await sql`SELECT ids = ${sql.types.uuids(ids)} AND names = ${sql.types.varchars(names)} AS same FROM things`
      expect(stored).toEqual({ same: true })
    })
  })
}
