/** Whether what stands between the service and Postgres carries prepared statements. */
import postgres from 'postgres'
import { DATABASE_DEADLINE_MS } from './connect.ts'

// One of them takes the session that the first client had, unless the pooler has more of them idle.
const OTHER_CLIENTS = 3
const PATIENCE_MS = 2000

/**
 * False behind a pooler that gives each transaction another session and does not prepare a client's statements there:
 * PgBouncer before 1.21, and later ones with `max_prepared_statements = 0`. postgres.js would find out only by failing, and
 * hang where several statements on a connection fail together (3.4.9).
 */
export async function carriesPreparedStatements(url: string): Promise<boolean> {
  const open = () =>
    postgres(url, { max: 1, onnotice: () => {}, fetch_types: false, connect_timeout: DATABASE_DEADLINE_MS / 1000 })
  const [client, ...others] = [open(), ...Array.from({ length: OTHER_CLIENTS }, open)] as const
  const ask = async () => {
    const query = client`SELECT pg_backend_pid() AS session, ${1}::int AS one`
    await query
    // postgres.js keeps there why it sent a statement again.
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

/** Has each of the clients keep a session to itself until `release`; gives up where there are fewer. */
async function holdSessions(clients: readonly postgres.Sql[]): Promise<{ release: () => Promise<unknown> }> {
  const over = Promise.withResolvers<void>()
  const timer = setTimeout(over.resolve, PATIENCE_MS)
  const begun = clients.map(() => Promise.withResolvers<void>())
  // Watched from the beginning: one that gets no session, as where the server has none left, is no failure of the service.
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
