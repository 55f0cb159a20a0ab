/** The connection to Postgres, and the deadline of every query. */
import postgres from 'postgres'
import { Problem } from '../problem.ts'

export type Sql = postgres.Sql<{ bigint: number }>
/** A connection, or an open transaction on one. */
export type Queryable = Sql | postgres.TransactionSql<{ bigint: number }>

/** How long any query may take, in milliseconds. */
export const DATABASE_DEADLINE_MS = 5000

/** Connects to Postgres at a URL, or over a Unix socket to the embedded one. Nothing is opened before the first query. */
export function connect(target: { url: string } | { socket: string }): Sql {
  const options = {
    connect_timeout: DATABASE_DEADLINE_MS / 1000,
    onnotice: () => {},
    // Sizes are below 2^53, so a number holds them.
    types: { bigint: { to: 20, from: [20], serialize: String, parse: Number } },
  }
  if ('url' in target) return postgres(target.url, { ...options, max: 20, idle_timeout: 60 })
  // PGlite serves one connection only: a second one gets `portal "" does not exist` (0.5.14).
  return postgres({ ...options, path: target.socket, username: 'postgres', database: 'postgres', max: 1 })
}

/**
 * The result of a query, within the deadline. A query that misses it is cancelled, but its outcome is unknown.
 * Throws Problem `database_unavailable` when the database is to blame and trying again may help.
 */
export async function within<T extends readonly (object | undefined)[]>(query: postgres.PendingQuery<T>) {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      query.cancel()
      reject(unavailable(new Error(`no answer within ${DATABASE_DEADLINE_MS} ms`)))
    }, DATABASE_DEADLINE_MS)
  })
  try {
    return await Promise.race([query, late])
  } catch (error) {
    throw isOutage(error) ? unavailable(error) : error
  } finally {
    clearTimeout(timer)
  }
}

/** Whether an error says that a statement would have broken this unique index or constraint (SQLSTATE class 23). */
export function violates(error: unknown, constraint: string): boolean {
  return error instanceof postgres.PostgresError && error.constraint_name === constraint
}

// Classes of SQLSTATE: connection, rolled back (deadlock), out of resources, operator intervention, system.
const OUTAGE_CLASSES = new Set(['08', '40', '53', '57', '58'])

/** An error of the client library itself has a code of letters, such as CONNECTION_CLOSED or ECONNREFUSED. */
function isOutage(error: unknown): boolean {
  if (error instanceof postgres.PostgresError) return OUTAGE_CLASSES.has(error.code.slice(0, 2))
  return error instanceof Error && 'code' in error && /^(CONNECT|ECONN|ENO|EPIPE|ETIMEDOUT)/.test(String(error.code))
}

function unavailable(cause: unknown): Problem {
  return new Problem('database_unavailable', 'The database did not answer as it should. Try again.', { cause })
}
