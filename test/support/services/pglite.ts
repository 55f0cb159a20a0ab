import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { dependencies } from '../../../package.json'
import { connect, type Sql } from '../../../src/db/connect.ts'
import { migrate } from '../../../src/db/migrate.ts'
import { startPGlite } from '../../../src/db/pglite.ts'
import { runToEnd } from '../process/process.ts'
import { repository } from '../repository.ts'
import type { OpenDatabase, Wanted } from './databases.ts'
import { createFolder } from './folder.ts'
import { hashOfMigrations } from './migrations.ts'

/** A database in this process, as the embedded default has it. */
export async function openPGlite({ migrated = false }: Wanted = {}): Promise<OpenDatabase> {
  const folder = await createFolder()
  const data = join(folder.path, 'data')
  await (migrated ? copyMigratedPGlite(data) : copyNewPGlite(data))
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

/** Copies a database that has just been created to a folder that is not there yet: a new one takes seconds. */
async function copyNewPGlite(to: string): Promise<void> {
  created ??= prepare(async () => VERSION)
  await copy(await created, to)
}

/** The same, with all migrations done, which take a service a quarter of its start. */
export async function copyMigratedPGlite(to: string): Promise<void> {
  done ??= prepare(async () => `${VERSION}-${await hashOfMigrations()}`, migrate)
  await copy(await done, to)
}

/** A thousand files, for which Bun's own `cp` (1.4.5) takes six times the CPU. */
function copy(from: string, to: string): Promise<void> {
  return runToEnd(['cp', '-R', from, to])
}

const VERSION = dependencies['@electric-sql/pglite']

let created: Promise<string> | undefined
let done: Promise<string> | undefined

/** Made once for all runs, and kept beside the packages under a name that says what it depends on. */
async function prepare(nameIt: () => Promise<string>, work?: (sql: Sql) => Promise<unknown>): Promise<string> {
  const kept = join(repository, 'node_modules', '.cache', `pglite-${await nameIt()}`)
  if (existsSync(kept)) return kept
  const folder = await createFolder()
  const data = join(folder.path, 'data')
  const { socket, stop } = await startPGlite(data)
  if (work) {
    const sql = connect({ socket })
    await work(sql)
    await sql.end({ timeout: 1 })
  }
  await stop()
  // Whole from its first moment, and somebody else's is as good.
  const whole = `${kept}-${process.pid}`
  await copy(data, whole)
  await rename(whole, kept).catch(() => rm(whole, { recursive: true }))
  await folder.remove()
  return kept
}
