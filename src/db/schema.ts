/** The check of the schema at start, for a role that must not change it (MIGRATE=false). */
import type { Sql } from './connect.ts'
import { sqlStateOf } from './errors.ts'
import { MIGRATIONS_FOLDER, missingFrom, readMigrations, readPast, SchemaError } from './migrations.ts'

const INSUFFICIENT_PRIVILEGE = '42501'
const RUN = 'run `bun run migrate` with a role that may change the schema'

/**
 * Makes sure that the schema is the one of this version, and that the role may use all of it. Reads only.
 * @throws SchemaError that says what to run
 */
export async function requireSchema(sql: Sql, folder = MIGRATIONS_FOLDER): Promise<void> {
  const past = await readPast(sql).catch(asUnreadable)
  const [first] = missingFrom(past ?? new Map(), await readMigrations(folder))
  if (first !== undefined)
    throw new SchemaError(`the schema is too old, and MIGRATE is false: migration ${first.name} is missing`, RUN)
  await requirePrivileges(sql)
}

async function requirePrivileges(sql: Sql): Promise<void> {
  const denied = await deniedPrivileges(sql)
  if (denied.length > 0) throw lacking(denied)
}

function asUnreadable(error: unknown): never {
  throw sqlStateOf(error) === INSUFFICIENT_PRIVILEGE ? lacking(['SELECT on media_migrations']) : error
}

function lacking(denied: string[]): SchemaError {
  return new SchemaError(
    `the role lacks privileges: ${denied.join(', ')}`,
    'as the owner of the tables run `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO` this role',
  )
}

/** What to do when a role may not migrate; every other error is thrown as it is. */
export function asSchemaError(error: unknown): never {
  if (sqlStateOf(error) !== INSUFFICIENT_PRIVILEGE || !(error instanceof Error)) throw error
  throw mayNotMigrate(error)
}

function mayNotMigrate(cause: Error): SchemaError {
  return new SchemaError(`the role lacks a privilege (${cause.message})`, `${RUN}, and set MIGRATE=false`, { cause })
}

/**
 * What the start would make of the schema, without changing it.
 * @param mayMigrate whether the start would apply what is missing
 * @throws SchemaError
 */
export async function requireUsableSchema(sql: Sql, { mayMigrate }: { mayMigrate: boolean }): Promise<void> {
  if (!mayMigrate) return requireSchema(sql)
  const past = await readPast(sql).catch(asUnreadable)
  const missing = missingFrom(past ?? new Map(), await readMigrations(MIGRATIONS_FOLDER))
  const [{ schema, allowed } = NOWHERE] = await sql<{ schema: string | null; allowed: boolean | null }[]>`
    SELECT current_schema() AS schema, has_schema_privilege(current_schema(), 'CREATE') AS allowed`
  if (missing.length > 0 && allowed !== true)
    throw mayNotMigrate(new Error(`permission denied for schema ${schema ?? 'public'}`))
  if (past !== undefined) await requirePrivileges(sql)
}

const NOWHERE = { schema: null, allowed: false }

/** Such as `UPDATE on media_objects`. */
async function deniedPrivileges(sql: Sql): Promise<string[]> {
  const rows = await sql<{ denied: string }[]>`
    SELECT privilege || ' on ' || relname AS denied
    FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
    WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('media_migrations'))
      AND starts_with(relname, 'media_') AND relname <> 'media_migrations'
      AND (relkind = 'r' OR (relkind = 'v' AND privilege = 'SELECT')) AND NOT has_table_privilege(oid, privilege)
    ORDER BY relname, privilege`
  return rows.map(({ denied }) => denied)
}
