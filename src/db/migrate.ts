/** Schema migrations: plain SQL files, forward only. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql, TransactionSql } from './connect.ts'
import { sqlStateOf } from './errors.ts'
import {
  MIGRATIONS_FOLDER,
  type Migration,
  missingFrom,
  type Past,
  readMigrations,
  readPast,
  readRows,
} from './migrations.ts'
import { asSchemaError } from './schema.ts'

// Key of the advisory lock: any number that nothing else uses.
const LOCK = 7_233_501_946
const LOCK_POLL_MS = 100
// A statement that waits for a table lock makes all traffic queue behind it: it gives up soon and is tried again.
const LOCK_TIMEOUT_MS = 1000
const RETRY_MS = 500
const MOST_TRIES = 60
const LOCK_NOT_AVAILABLE = '55P03'
const CONCURRENT_INDEX = /^\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w."]+)/gim

/**
 * Applies new migrations in the order of their names, under an advisory lock: replicas that start together take turns.
 * Each file runs in its own transaction; a file whose first line is `-- no transaction` runs statement by statement
 * outside of any (CREATE INDEX CONCURRENTLY, VALIDATE CONSTRAINT). The statements of such a file must be repeatable,
 * because a process may die between two of them. Works through a transaction pooler. Returns the names applied.
 * A database without new migrations is only read, so that a role without rights on the schema is enough.
 * @throws SchemaError when an applied file is missing or was changed (so not even a comment in it may change), when a
 * new file is numbered below an applied one, when there are no files, and when the role may not change the schema
 * @throws Error when the table stays locked for a minute
 */
export async function migrate(sql: Sql, folder = MIGRATIONS_FOLDER): Promise<string[]> {
  const files = await readMigrations(folder)
  const past = await readPast(sql).catch(asSchemaError)
  if (past !== undefined && missingFrom(past, files).length === 0) return []
  const applied: string[] = []
  for (const file of files) if (await applyPatiently(sql, file, files).catch(asSchemaError)) applied.push(file.name)
  return applied
}

/** False when the file was applied before. */
async function applyPatiently(sql: Sql, file: Migration, files: Migration[]): Promise<boolean> {
  for (let tries = 1; ; tries++) {
    try {
      const outcome = await sql.begin((tx) => apply(sql, tx, file, files))
      if (outcome !== 'busy') return outcome === 'applied'
      // The lock is polled: a session that waits for it in a statement would block a CREATE INDEX CONCURRENTLY.
      tries -= 1
      await sleep(LOCK_POLL_MS)
    } catch (error) {
      if (sqlStateOf(error) !== LOCK_NOT_AVAILABLE) throw error
      if (tries === MOST_TRIES)
        throw new Error(`migration ${file.name} could not lock media_objects: a long transaction holds it`, {
          cause: error,
        })
      await sleep(RETRY_MS)
    }
  }
}

/**
 * `busy`: another replica migrates. The lock belongs to the transaction, since a pooler may change the session after
 * it.
 */
async function apply(
  sql: Sql,
  tx: TransactionSql,
  { name, text, checksum, transactional }: Migration,
  files: Migration[],
): Promise<'applied' | 'present' | 'busy'> {
  const [row] = await tx<{ locked: boolean }[]>`SELECT pg_try_advisory_xact_lock(${LOCK}) AS locked`
  if (row?.locked !== true) return 'busy'
  const past = (await readPast(tx)) ?? (await createPast(tx))
  missingFrom(past, files)
  if (past.has(name)) return 'present'
  await tx.unsafe(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`)
  if (transactional) await tx.unsafe(text)
  // PGlite has a single connection, so there is no concurrent traffic.
  else if (sql.options.max === 1) await tx.unsafe(text.replaceAll(/\bCONCURRENTLY\b/g, ''))
  else await runOutside(sql, text)
  await tx`INSERT INTO media_migrations (name, checksum) VALUES (${name}, ${checksum})`
  return 'applied'
}

/**
 * Creates the table unless it is there, and reads it: to_regclass answers from a cache that may miss what another session
 * committed since this transaction began.
 */
async function createPast(tx: TransactionSql): Promise<Past> {
  await tx`CREATE TABLE IF NOT EXISTS media_migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`
  return readRows(tx)
}

/** Runs on another connection while the transaction with the lock waits. Splits at semicolons that end a line. */
async function runOutside(sql: Sql, text: string): Promise<void> {
  // An interrupted build leaves an invalid index, which IF NOT EXISTS would accept. Only indexes that this file creates
  // are dropped: another invalid index may belong to an operator whose build is still running.
  for (const [, name = ''] of text.matchAll(CONCURRENT_INDEX)) {
    const [broken] = await sql<{ name: string }[]>`
      SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid AND indexrelid = to_regclass(${name})`
    if (broken !== undefined) await sql.unsafe(`DROP INDEX CONCURRENTLY IF EXISTS ${broken.name}`)
  }
  const statements = text.split(/;[ \t]*$/m).filter((statement) => /^\s*[^\s-]/m.test(statement))
  for (const statement of statements) await sql.unsafe(statement)
}
