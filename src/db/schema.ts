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
    throw new SchemaError(`the schema is too old, and MIGRATE is false: migration ${first.name} is missing; ${RUN}`)
  const denied = await deniedPrivileges(sql)
  if (denied.length > 0) throw lacking(denied)
}

function asUnreadable(error: unknown): never {
  throw sqlStateOf(error) === INSUFFICIENT_PRIVILEGE ? lacking(['SELECT on media_migrations']) : error
}

function lacking(denied: string[]): SchemaError {
  return new SchemaError(
    `the role lacks privileges: ${denied.join(', ')}; as the owner of the tables run ` +
      '`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO` this role',
  )
}

/** What to do when a role may not migrate; every other error is thrown as it is. */
export function asSchemaError(error: unknown): never {
  if (sqlStateOf(error) !== INSUFFICIENT_PRIVILEGE || !(error instanceof Error)) throw error
  const message = `the role lacks a privilege (${error.message}); ${RUN}, and set MIGRATE=false`
  throw new SchemaError(message, { cause: error })
}

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
