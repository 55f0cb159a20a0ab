/** The connection to Postgres, and the deadline of every query. */
import postgres from 'postgres'
import { inTime } from '../deadline.ts'
import { begin } from '../telemetry/record.ts'
import { isOutage, isSerializationFailure, Late, unavailable } from './errors.ts'
import { readJson } from './json.ts'
import { originOf, renewable } from './pool.ts'
import { CONNECT_SECONDS, serverOf } from './server.ts'
import type { Queryable, Sql } from './sql.ts'

export type { Fragment, Queryable, Sql, TransactionSql } from './sql.ts'

/**
 * Size of the connection pool. Gathered statements make the number nearly irrelevant. With durable commits, on a busy
 * machine, 4 connections used this share of the CPU time that 8 use: presign 0.94, 0.96 and 1.11 at 1, 16 and 64
 * concurrent calls, get 0.90, 1.04 and 1.00, upload 1.06, 0.83 and 0.61 in one run and 0.86 and 1.05 at 16 and 64 in
 * the next, delete 1.11 at 1; 2 were no better than 4. A locked row or a transaction may hold a connection for long, so
 * there are 8: gathered statements use up to six, half of them for locked rows, and all other statements two.
 */
export const POOL_CONNECTIONS = 8

// Distinguishes this version's connections from those of versions that corrupt rows during a migration.
const CONNECTION = { application_name: 'media-service' }

/** How long any query may take, in milliseconds. */
export const DATABASE_DEADLINE_MS = 5000

export type ServerTarget = {
  url: string
  /** Whether to use prepared statements, which some poolers do not support; absent: true. */
  prepare?: boolean
  /** Called when a pooler turns out not to support them, and none are used any more; absent: they always are. */
  onPlain?: () => void
  /** Size of the pool. */
  connections?: number
}

/**
 * Connects to Postgres at a URL, or to the embedded one over a Unix socket. No connection is opened before the first
 * query. A pool whose connections hang or break is replaced behind the returned handle.
 */
export function connect(target: ServerTarget | { socket: string }): Sql {
  const options = {
    connection: CONNECTION,
    connect_timeout: CONNECT_SECONDS,
    // Seconds. By default each failure triples the pause of all connections, up to 20 s: longer than any query waits.
    backoff: () => 0.1,
    onnotice: () => {},
    // postgres.js (3.4.9) queries the array types on each new connection without handling failure: if the connection
    // broke at that moment, the process would end.
    fetch_types: false,
    types: {
      // All bigint columns hold sizes and counts below 2^53, which a number represents exactly.
      bigint: { to: 20, from: [20], serialize: String, parse: Number },
      json: { to: 3802, from: [114, 3802], serialize: once(JSON.stringify), parse: readJson },
      boolean: { to: 16, from: [16], serialize: once((value: boolean) => (value ? 't' : 'f')), parse: isTrue },
      uuids: arrayOf(2951),
      varchars: arrayOf(1015),
    },
  }
  if ('url' in target) {
    const { url, prepare = true, connections = POOL_CONNECTIONS, onPlain } = target
    const { options: server, primary } = serverOf(url)
    const own = { ...options, ...server, connection: { ...server.connection, ...CONNECTION } }
    const open = (prepare: boolean) => postgres({ ...own, prepare, max: connections, idle_timeout: 60 })
    return renewable(open, { prepare, ...(onPlain && { onPlain }), ...(primary && { onRenew: primary.forget }) })
  }
  // PGlite (0.5.14) serves one connection only: a second one gets `portal "" does not exist`.
  return postgres({ ...options, path: target.socket, username: 'postgres', database: 'postgres', max: 1 })
}

/**
 * Serializes a value unless it is a string. postgres.js (3.4.9) repeats a statement when the server reports an outdated
 * or unknown plan, as after an ALTER or behind a pooler, and serializes the parameters a second time: an object would
 * become a JSON string, and true would become false. The price: no statement may have a string as a JSON parameter.
 */
function once<T>(serialize: (value: T) => string) {
  return (value: T | string) => (typeof value === 'string' ? value : serialize(value))
}

function isTrue(text: string): boolean {
  return text === 't'
}

/** An array of strings as a parameter of this type (pg_type.oid). No query returns such an array. */
function arrayOf(oid: number) {
  const quote = (item: string) => `"${item.replace(/[\\"]/g, '\\$&')}"`
  const serialize = once((items: string[]) => `{${items.map(quote).join(',')}}`)
  return { to: oid, from: [], serialize, parse: (): string[] => [] }
}

/**
 * A statement whose text never changes, with parameters $1, $2 and so on. postgres.js builds the text of any other
 * statement from its pieces on each call, which for a long statement costs more than the rest of its work.
 */
export function prepared<T extends object>(sql: Queryable, text: string, parameters: Parameters<Sql['unsafe']>[1]) {
  return sql.unsafe<T[]>(text, parameters, { prepare: true })
}

let underWay = 0

/** Number of queries of this process that use a connection or wait for one. */
export function queriesUnderWay(): number {
  return underWay
}

/**
 * The result of a query, within the deadline. A query that misses it is cancelled, but its outcome is unknown. One that
 * the server rolled back in favour of another, or that a pooler sent to a session that does not know it, is repeated
 * once; a query of a transaction is not.
 * @param ms the deadline
 * @throws Problem `database_unavailable` when the database is to blame and trying again may help
 */
export async function within<T extends readonly (object | undefined)[]>(
  query: postgres.PendingQuery<T>,
  ms = DATABASE_DEADLINE_MS,
) {
  const end = begin('database')
  const dueAt = performance.now() + ms
  underWay += 1
  let outage = false
  try {
    try {
      return await answered(query, ms)
    } catch (error) {
      const origin = originOf(query)
      const repeatable = origin?.stopPreparing(error) || isSerializationFailure(error)
      if (origin === undefined || !repeatable) throw error
      return await answered(origin.repeat(), dueAt - performance.now())
    }
  } catch (error) {
    outage = isOutage(error)
    throw outage ? unavailable(error) : error
  } finally {
    underWay -= 1
    end(outage)
  }
}

async function answered<T extends readonly (object | undefined)[]>(query: postgres.PendingQuery<T>, ms: number) {
  const origin = originOf(query)
  try {
    const rows = await inTime(query, ms, () => {
      cancel(query)
      throw new Late(`no answer within ${Math.round(ms)} ms`)
    })
    // postgres.js repeats a statement that the session does not know, and stores here why.
    if ('retried' in query && query.retried) origin?.stopPreparing(query.retried)
    return rows
  } catch (error) {
    origin?.failed(error)
    throw error
  }
}

/**
 * Asks the server to cancel a query. `query.cancel()` (postgres.js 3.4.9) does the same, but leaves a promise
 * unhandled, whose rejection ends the process when the server refuses connections.
 */
function cancel(query: object): void {
  if ('canceller' in query && typeof query.canceller === 'function')
    Promise.resolve(query.canceller(query)).catch(() => {})
}

/** The server's version, such as `18.6`. */
export async function serverVersion(sql: Sql): Promise<string> {
  const [row] = await within(sql<{ server_version: string }[]>`SHOW server_version`)
  return row?.server_version ?? ''
}
