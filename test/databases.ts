import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { connect, type Sql } from '../src/db/connect.ts'
import { startPGlite } from '../src/db/pglite.ts'
import { createDatabase } from './database.ts'
import { createFolder } from './services/folder.ts'
import { haveServices } from './services/shared.ts'

export type OpenDatabase = {
  sql: Sql
  /** As a further replica connects. PGlite has one connection for all. */
  connectAgain(): Sql
  /** Ends every connection and removes the database. */
  close(): Promise<void>
}

/** What a suite about SQL runs on, each time empty: `describe.skipIf(!present)(name, …)`. */
export const databases = [
  { name: 'Postgres', present: await haveServices(), open: openPostgres },
  { name: 'PGlite', present: true, open: openPGlite },
]

async function openPostgres(): Promise<OpenDatabase> {
  const { url, drop } = await createDatabase()
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

export async function openPGlite(): Promise<OpenDatabase> {
  const folder = await createFolder()
  const data = join(folder.path, 'data')
  await cp(await preparedFolder(), data, { recursive: true })
  const { socket, stop } = await startPGlite(data)
  const sql = connect({ socket })
  return {
    sql,
    connectAgain: () => sql,
    async close() {
      await sql.end({ timeout: 1 })
      await stop()
      await folder.remove()
    },
  }
}

let prepared: Promise<string> | undefined

/** A new database takes seconds and a copy of one does not. It goes away with this process. */
function preparedFolder(): Promise<string> {
  prepared ??= (async () => {
    const data = join((await createFolder()).path, 'data')
    await (await startPGlite(data)).stop()
    return data
  })()
  return prepared
}
