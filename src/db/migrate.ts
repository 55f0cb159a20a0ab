/** Brings the database to the newest schema: plain SQL files, forward only. */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Queryable, Sql } from './connect.ts'

/** The migrations of this package. */
export const MIGRATIONS_FOLDER = join(import.meta.dirname, '../../sql')

// Any number that nothing else locks on.
const LOCK = 7_233_501_946

/**
 * Applies what is new, each file in a transaction of its own, under a lock that makes replicas that start together
 * take turns. Returns the names applied.
 * @throws Error when a file that was applied is missing or has another content now, when a new one is numbered below
 * one that was applied, and when there are no files
 */
export async function migrate(sql: Sql, folder = MIGRATIONS_FOLDER): Promise<string[]> {
  const files = await readMigrations(folder)
  if (files.length === 0) throw new Error(`no migration files in ${folder}`)
  const applied: string[] = []
  for (const file of files) {
    const isNew = await sql.begin(async (tx) => {
      // A lock of the transaction, not of the session: a pooler may give each transaction another session.
      await tx`SELECT pg_advisory_xact_lock(${LOCK})`
      const past = await readPast(tx)
      check(past, files)
      if (past.has(file.name)) return false
      await tx.unsafe(file.text)
      await tx`INSERT INTO media_migrations (name, checksum) VALUES (${file.name}, ${file.checksum})`
      return true
    })
    if (isNew) applied.push(file.name)
  }
  return applied
}

type Migration = { name: string; text: string; checksum: string }

async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{4}_\w+\.sql$/.test(name)).sort()
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(folder, name), 'utf8')
      return { name, text, checksum: createHash('sha256').update(text).digest('hex') }
    }),
  )
}

/** Names and checksums of what was applied before. */
async function readPast(tx: Queryable): Promise<Map<string, string>> {
  await tx`CREATE TABLE IF NOT EXISTS media_migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`
  const rows = await tx<{ name: string; checksum: string }[]>`SELECT name, checksum FROM media_migrations`
  return new Map(rows.map(({ name, checksum }) => [name, checksum]))
}

function check(past: Map<string, string>, files: Migration[]): void {
  const now = new Map(files.map(({ name, checksum }) => [name, checksum]))
  for (const [name, checksum] of past) {
    const found = now.get(name)
    if (found === undefined) throw new Error(`migration ${name} was applied to this database, but its file is missing`)
    if (found !== checksum) throw new Error(`migration ${name} was changed after it was applied to this database`)
  }
  const last = [...past.keys()].sort().at(-1) ?? ''
  const late = files.find(({ name }) => name < last && !past.has(name))
  if (late) throw new Error(`migration ${late.name} is new, but ${last} was applied to this database before it`)
}
