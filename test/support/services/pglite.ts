import { existsSync } from 'node:fs'
import { cp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { dependencies } from '../../../package.json'
import { connect } from '../../../src/db/connect.ts'
import { startPGlite } from '../../../src/db/pglite.ts'
import { repository } from '../repository.ts'
import type { OpenDatabase } from './databases.ts'
import { createFolder } from './folder.ts'

/** An empty database in this process, as the embedded default has it. */
export async function openPGlite(): Promise<OpenDatabase> {
  const folder = await createFolder()
  const data = join(folder.path, 'data')
  await copyNewPGlite(data)
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
export async function copyNewPGlite(to: string): Promise<void> {
  prepared ??= prepare()
  await cp(await prepared, to, { recursive: true })
}

let prepared: Promise<string> | undefined

/** Made once for all runs, and kept beside the packages, for it is of this version of PGlite. */
async function prepare(): Promise<string> {
  const kept = join(repository, 'node_modules', '.cache', `pglite-${dependencies['@electric-sql/pglite']}`)
  if (existsSync(kept)) return kept
  const folder = await createFolder()
  const data = join(folder.path, 'data')
  await (await startPGlite(data)).stop()
  // Whole from its first moment, and somebody else's is as good.
  const whole = `${kept}-${process.pid}`
  await cp(data, whole, { recursive: true })
  await rename(whole, kept).catch(() => rm(whole, { recursive: true }))
  await folder.remove()
  return kept
}
