/** Detects a connection pooler that does not support prepared statements. */
import type postgres from 'postgres'
import { inTime } from '../deadline.ts'
import { DATABASE_DEADLINE_MS } from './connect.ts'
import { isUnprepared } from './errors.ts'
import { connectOnce, serverOf } from './server.ts'

// Traffic of other clients can hide a pooler in one round, hardly in all of them. A round takes four round trips.
const ROUNDS = 12
const PATIENCE_MS = 2000

type Session = { backend: number; repeated: boolean }

/**
 * False behind a transaction pooler that does not prepare a client's statements in each session: PgBouncer before 1.21,
 * or later with `max_prepared_statements = 0`; also when no second session can be had, so that nothing can be found
 * out. Without this check postgres.js (3.4.9) notices only when a statement fails, and hangs when several statements on
 * a connection fail together.
 *
 * PgBouncer hands a client the session it used last, if it is free. So in each round another client takes a session and
 * holds it, and the first client repeats its named statement. If the session has changed between two calls, the pooler
 * has to carry the statement; if it never changes, each client has a session of its own.
 */
export async function carriesPreparedStatements(url: string): Promise<boolean> {
  const server = serverOf(url)
  const client = connectOnce(server)
  const other = connectOnce(server)
  const ask = async (ms: number): Promise<Session | undefined> => {
    const query = client<{ backend: number }[]>`SELECT pg_backend_pid() AS backend, ${1}::int AS one`
    const [row] = await inTime(query, ms, () => [])
    // postgres.js stores here why it repeated a statement.
    return row && { backend: row.backend, repeated: 'retried' in query && Boolean(query.retried) }
  }
  try {
    const first = await ask(DATABASE_DEADLINE_MS)
    if (first === undefined) throw new Error(`the database gave no answer within ${DATABASE_DEADLINE_MS} ms`)
    for (let round = 0; round < ROUNDS; round++) {
      const held = await holdSession(other)
      if (held === undefined) return false
      try {
        const now = await ask(PATIENCE_MS).catch(notIfUnprepared)
        if (now === undefined || now.repeated) return false
        if (now.backend !== first.backend) return true
      } finally {
        await held.release()
      }
    }
    return true
  } finally {
    await Promise.all([client, other].map((sql) => sql.end({ timeout: 1 })))
  }
}

function notIfUnprepared(error: unknown): undefined {
  if (!isUnprepared(error)) throw error
}

/** Begins a transaction, which keeps its session until `release`; undefined when there is no session to be had in time. */
async function holdSession(sql: postgres.Sql): Promise<{ release: () => Promise<unknown> } | undefined> {
  const begun = Promise.withResolvers<boolean>()
  const over = Promise.withResolvers<void>()
  const ended = sql
    .begin(async () => {
      begun.resolve(true)
      await over.promise
    })
    .catch(() => begun.resolve(false))
  const release = () => {
    over.resolve()
    return ended
  }
  if (await inTime(begun.promise, PATIENCE_MS, () => false)) return { release }
  // The transaction may still begin; it then ends at once.
  over.resolve()
  return undefined
}
