/** Detects a connection pooler that does not support prepared statements. */
import postgres from 'postgres'
import { DATABASE_DEADLINE_MS } from './connect.ts'

// One of these clients takes over the first client's session, unless the pooler has more idle sessions.
const OTHER_CLIENTS = 3
const PATIENCE_MS = 2000

/**
 * False behind a transaction pooler that does not prepare a client's statements in each session: PgBouncer before 1.21,
 * or later with `max_prepared_statements = 0`. Without this check postgres.js (3.4.9) notices only when a statement
 * fails, and hangs when several statements on a connection fail together.
 */
export async function carriesPreparedStatements(url: string): Promise<boolean> {
  const open = () =>
    postgres(url, { max: 1, onnotice: () => {}, fetch_types: false, connect_timeout: DATABASE_DEADLINE_MS / 1000 })
  const [client, ...others] = [open(), ...Array.from({ length: OTHER_CLIENTS }, open)] as const
  const ask = async () => {
    const query = client`SELECT pg_backend_pid() AS session, ${1}::int AS one`
    await query
    // postgres.js stores here why it repeated a statement.
    return !('retried' in query && query.retried)
  }
  try {
    await ask()
    const held = await holdSessions(others)
    try {
      return await ask()
    } finally {
      await held.release()
    }
  } finally {
    await Promise.all([client, ...others].map((sql) => sql.end({ timeout: 1 })))
  }
}

/** Makes each client hold a session until `release`; gives up when there are fewer sessions. */
async function holdSessions(clients: readonly postgres.Sql[]): Promise<{ release: () => Promise<unknown> }> {
  const over = Promise.withResolvers<void>()
  const timer = setTimeout(over.resolve, PATIENCE_MS)
  const begun = clients.map(() => Promise.withResolvers<void>())
  // `allSettled`: a client that gets no session, because the server has none left, is no failure of the service.
  const ended = Promise.allSettled(
    clients.map((client, i) =>
      client.begin(async (tx) => {
        await tx`SELECT 1`
        begun[i]?.resolve()
        await over.promise
      }),
    ),
  )
  await Promise.race([Promise.all(begun.map(({ promise }) => promise)), over.promise])
  return {
    release() {
      clearTimeout(timer)
      over.resolve()
      return ended
    },
  }
}
