import { connect, type Sql } from '../../../src/db/connect.ts'
import { createDatabase } from './database.ts'
import { openPGlite } from './pglite.ts'
import { haveServices } from './shared.ts'

export type OpenDatabase = {
  sql: Sql
  /** As a further replica connects. PGlite has one connection for all. */
  connectAgain(): Sql
  /** Ends every connection and removes the database. */
  close(): Promise<void>
}

/** Whether all migrations of the service are done in it; it is empty otherwise. */
export type Wanted = { migrated?: boolean }

/** What a suite about SQL runs on: `describe.skipIf(!present)(name, …)`. */
export const databases = [
  { name: 'Postgres', present: await haveServices(), open: openPostgres },
  { name: 'PGlite', present: true, open: openPGlite },
]

export async function openPostgres(options: Wanted = {}): Promise<OpenDatabase> {
  const { url, drop } = await createDatabase(options)
  const connections: Sql[] = []
  const connectAgain = () => {
    const sql = connect({ url })
    connections.push(sql)
    return sql
  }
  return {
    sql: connectAgain(),
    connectAgain,
    async close() {
      await Promise.all(connections.map((sql) => sql.end({ timeout: 1 })))
      await drop()
    },
  }
}
