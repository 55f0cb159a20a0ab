import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from '../src/db/connect.ts'
import { startPGlite } from '../src/db/pglite.ts'
import type { OpenDatabase } from './databases.ts'
import { createFolder } from './services/folder.ts'

/** An empty database in this process, as the embedded default has it. */
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
