import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MIGRATIONS_FOLDER } from '../../../src/db/migrations.ts'

/** Names a database in which all migrations are done: another one as soon as a file in `sql` changes. */
export async function hashOfMigrations(): Promise<string> {
  const hash = createHash('sha256')
  for (const file of (await readdir(MIGRATIONS_FOLDER)).sort())
    hash.update(await readFile(join(MIGRATIONS_FOLDER, file)))
  return hash.digest('hex').slice(0, 16)
}
