/** Opens the database of the settings, or the embedded one, and brings its schema to this version. */
import { join } from 'node:path'
import { connect, POOL_CONNECTIONS, type Sql, serverVersion } from '../db/connect.ts'
import { migrate } from '../db/migrate.ts'
import { startPGlite } from '../db/pglite.ts'
import { carriesPreparedStatements } from '../db/pooler.ts'
import { type Refusal, refusalOf } from '../db/refusal.ts'
import { requireSchema } from '../db/schema.ts'
import { readServer } from '../db/server.ts'
import { SetupError } from '../finding.ts'
import type { Log } from '../log.ts'
import type { DataDir } from './data-dir.ts'
import { reachable } from './reachable.ts'

export type Database = {
  sql: Sql
  /** Most connections to the database at once. */
  connections: number
  /** Names of the migrations that were applied. */
  applied: string[]
  /** For the log. */
  found: object
  close(): Promise<void>
}

export type DatabaseSettings = {
  databaseUrl: string | undefined
  /** False: the schema must be that of this version, and the role needs no right to change it. */
  migrate: boolean
  /** Undefined: as the URL says, else `POOL_CONNECTIONS`. */
  databaseConnections: number | undefined
  /** Undefined: as the URL says, else it is found out. */
  preparedStatements: boolean | undefined
}

/** @throws SetupError */
export async function openDatabase(
  settings: DatabaseSettings,
  inDataDir: () => Promise<DataDir>,
  log: Log,
): Promise<Database> {
  const { databaseUrl } = settings
  return databaseUrl === undefined
    ? openEmbedded((await inDataDir()).path, settings, log)
    : openServer(databaseUrl, settings, log)
}

async function openServer(url: string, settings: DatabaseSettings, log: Log): Promise<Database> {
  const server = readServer(url)
  const { preparedStatements = server.prepare, databaseConnections } = settings
  const refused = (error: unknown): Refusal => refusalOf(error, server)
  const onPlain = () => log.warn('database: a pooler does not carry prepared statements; each statement is sent whole')
  const opened = async <T>(attempt: () => Promise<T>): Promise<T> => {
    try {
      return await reachable('database', log, attempt, (error) => refused(error).permanent)
    } catch (error) {
      // Its own sentence says it all.
      if (error instanceof SetupError) throw error
      throw new SetupError([refused(error).finding], { cause: error })
    }
  }
  const prepare = preparedStatements ?? (await opened(() => carriesPreparedStatements(url)))
  if (!prepare && preparedStatements === undefined) onPlain()
  const connections = databaseConnections ?? server.connections ?? POOL_CONNECTIONS
  const sql = connect({ url, connections, prepare, ...(preparedStatements === undefined && { onPlain }) })
  const close = () => sql.end({ timeout: 1 })
  try {
    const applied = report(await opened(() => prepareSchema(sql, settings)), log)
    const found = { name: 'postgres', version: await serverVersion(sql), prepared: prepare }
    return { sql, connections, applied, found, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function openEmbedded(path: string, settings: DatabaseSettings, log: Log): Promise<Database> {
  const { socket, stop } = await startPGlite(join(path, 'postgres'))
  const sql = connect({ socket })
  const close = async () => {
    await sql.end({ timeout: 1 })
    await stop()
  }
  try {
    const applied = report(await prepareSchema(sql, settings), log)
    return { sql, connections: 1, applied, found: { name: 'pglite', version: await serverVersion(sql) }, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Returns the names of the migrations that it applied. */
async function prepareSchema(sql: Sql, { migrate: mayMigrate }: DatabaseSettings): Promise<string[]> {
  if (mayMigrate) return migrate(sql)
  await requireSchema(sql)
  return []
}

function report(applied: string[], log: Log): string[] {
  if (applied.length > 0) log.info({ applied }, 'database: migrated')
  return applied
}
