/** The migration files of a folder, and their comparison with those that a database has seen. */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findingsAbout, SetupError } from '../finding.ts'
import type { Queryable } from './connect.ts'

/** The migrations of this package. */
export const MIGRATIONS_FOLDER = join(import.meta.dirname, '../../sql')

export type Migration = { name: string; text: string; checksum: string; transactional: boolean }
/** Checksums of the applied migrations, by name. */
export type Past = ReadonlyMap<string, string>

/** The schema is not one that this version can use. */
export class SchemaError extends SetupError {
  override readonly name = 'SchemaError'

  constructor(problem: string, remedy: string, options?: ErrorOptions) {
    super([wrong('DATABASE_URL', problem, remedy)], options)
  }
}

const { wrong } = findingsAbout('database')

/** All migrations of a folder, in their order; at least one. */
export async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{4}_\w+\.sql$/.test(name)).sort()
  if (names.length === 0) throw new SchemaError(`no migration files in ${folder}`, 'install this version anew')
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(folder, name), 'utf8')
      const checksum = createHash('sha256').update(text).digest('hex')
      return { name, text, checksum, transactional: !text.startsWith('-- no transaction\n') }
    }),
  )
}

/** Undefined when no migration was ever applied to this database. */
export async function readPast(sql: Queryable): Promise<Past | undefined> {
  const [row] = await sql<{ present: boolean }[]>`SELECT to_regclass('media_migrations') IS NOT NULL AS present`
  return row?.present === true ? readRows(sql) : undefined
}

/** As `readPast`, where the table is there. */
export async function readRows(sql: Queryable): Promise<Past> {
  const rows = await sql<{ name: string; checksum: string }[]>`SELECT name, checksum FROM media_migrations`
  return new Map(rows.map(({ name, checksum }) => [name, checksum]))
}

/**
 * The files that are still to be applied.
 * @throws SchemaError when an applied file is missing or was changed, and when a new file is numbered below an applied
 * one
 */
export function missingFrom(past: Past, files: Migration[]): Migration[] {
  const now = new Map(files.map(({ name, checksum }) => [name, checksum]))
  const lastFile = files.at(-1)?.name ?? ''
  for (const [name, checksum] of past) {
    const found = now.get(name)
    if (found === undefined && name > lastFile)
      throw new SchemaError(
        `the database is too new for this version: migration ${name} was applied to it, but its file is missing`,
        'start the version that applied it, or a later one',
      )
    if (found === undefined)
      throw new SchemaError(`migration ${name} was applied to this database, but its file is missing`, SAME_VERSION)
    if (found !== checksum)
      throw new SchemaError(`migration ${name} was changed after it was applied to this database`, SAME_VERSION)
  }
  const last = [...past.keys()].sort().at(-1) ?? ''
  const late = files.find(({ name }) => name < last && !past.has(name))
  if (late)
    throw new SchemaError(
      `migration ${late.name} is new, but ${last} was applied to this database before it`,
      'give the new file the next number',
    )
  return files.filter(({ name }) => !past.has(name))
}

const SAME_VERSION = 'start a version that has the file as it was applied'
