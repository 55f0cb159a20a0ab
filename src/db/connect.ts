/** The connection to Postgres, and the deadline of every query. */
import postgres from 'postgres'
import { inTime } from '../deadline.ts'
import { Problem } from '../problem.ts'
import { begin } from '../telemetry/record.ts'
import { readJson } from './json.ts'

type Types = { bigint: number; json: unknown; boolean: boolean; uuids: string[]; varchars: string[] }
export type Sql = postgres.Sql<Types>
export type TransactionSql = postgres.TransactionSql<Types>
/** A connection, or an open transaction on one. */
export type Queryable = Sql | TransactionSql

/**
 * Size of the connection pool. Gathered statements make the number nearly irrelevant. With durable commits, on a busy
 * machine, 4 connections used this share of the CPU time that 8 use: presign 0.94, 0.96 and 1.11 at 1, 16 and 64
 * concurrent calls, get 0.90, 1.04 and 1.00, upload 1.06, 0.83 and 0.61 in one run and 0.86 and 1.05 at 16 and 64 in
 * the next, delete 1.11 at 1; 2 were no better than 4. A locked row or a transaction may hold a connection for long, so
 * there are 8: gathered statements use up to six, half of them for locked rows, and all other statements two.
 */
export const POOL_CONNECTIONS = 8

/** How long any query may take, in milliseconds. */
export const DATABASE_DEADLINE_MS = 5000

// A pool younger than this is not replaced: a slow server must not be flooded with new connections.
const SLOW_RENEWAL_MS = 15_000
const BROKEN_RENEWAL_MS = 1000

/**
 * Connects to Postgres at a URL, or to the embedded one over a Unix socket. No connection is opened before the first
 * query. A pool whose connections hang or break is replaced behind the returned handle.
 * @param target `prepare: false`: no prepared statements, for a pooler that does not support them
 */
export function connect(target: { url: string; prepare?: boolean } | { socket: string }): Sql {
  const options = {
    // Distinguishes this version's connections from those of versions that corrupt rows during a migration.
    connection: { application_name: 'media-service' },
    connect_timeout: DATABASE_DEADLINE_MS / 1000,
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
  if ('url' in target)
    return renewable(() =>
      postgres(target.url, { ...options, ...preparing(target), max: POOL_CONNECTIONS, idle_timeout: 60 }),
    )
  // PGlite (0.5.14) serves one connection only: a second one gets `portal "" does not exist`.
  return postgres({ ...options, path: target.socket, username: 'postgres', database: 'postgres', max: 1 })
}

/** Leaves the option out unless it is given: it would override the URL's own `?prepare=false`. */
function preparing({ prepare }: { prepare?: boolean }) {
  return prepare === false ? { prepare } : {}
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

/** For each query: the function that replaces its pool, if the pool is at least `age` milliseconds old. */
const renewals = new WeakMap<object, (age: number) => void>()

/**
 * A handle on a pool that can be replaced, which postgres.js (3.4.9) needs in two cases. It waits forever on a
 * connection that is open but dead, as after a failover or behind a packet filter, and sends it more queries; and a
 * connection that broke just before a query was written never writes again, not even after it reconnects. The library
 * does not show which connections are affected, so the whole pool is replaced, and closed once its running queries have
 * ended.
 */
function renewable(open: () => Sql): Sql {
  let pool = open()
  let renewedAt = Number.NEGATIVE_INFINITY
  let ended = false
  const renew = (age: number) => {
    if (ended || performance.now() - renewedAt < age) return
    renewedAt = performance.now()
    void pool.end({ timeout: DATABASE_DEADLINE_MS / 1000 })
    pool = open()
  }
  const end: Sql['end'] = (options) => {
    ended = true
    return pool.end(options)
  }
  const renewing = <Q extends object>(query: Q): Q => {
    renewals.set(query, renew)
    return query
  }
  const unsafe: Sql['unsafe'] = (...args) => renewing(pool.unsafe(...args))
  return new Proxy(pool, {
    apply: (_, self, args) => renewing(Reflect.apply(pool, self, args)),
    get: (_, name) => (name === 'end' ? end : name === 'unsafe' ? unsafe : Reflect.get(pool, name)),
  })
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
 * The result of a query, within the deadline. A query that misses it is cancelled, but its outcome is unknown.
 * Throws Problem `database_unavailable` when the database is to blame and trying again may help.
 * @param ms the deadline
 */
export async function within<T extends readonly (object | undefined)[]>(
  query: postgres.PendingQuery<T>,
  ms = DATABASE_DEADLINE_MS,
) {
  const end = begin('database')
  underWay += 1
  let outage = false
  try {
    return await inTime(query, ms, () => {
      cancel(query)
      throw new Late(`no answer within ${Math.round(ms)} ms`)
    })
  } catch (error) {
    if (error instanceof Late) renewals.get(query)?.(SLOW_RENEWAL_MS)
    else if (isBroken(error)) renewals.get(query)?.(BROKEN_RENEWAL_MS)
    outage = isOutage(error)
    throw outage ? unavailable(error) : error
  } finally {
    underWay -= 1
    end(outage)
  }
}

class Late extends Error {}

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

/** Whether an error reports a violation of this unique index or constraint (SQLSTATE class 23). */
export function violates(error: unknown, constraint: string): boolean {
  return error instanceof postgres.PostgresError && error.constraint_name === constraint
}

/** The SQLSTATE of a server error, five characters; undefined for any other error. */
export function sqlStateOf(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError ? error.code : undefined
}

// SQLSTATE classes: connection exception, transaction rollback, insufficient resources, operator intervention, system.
const OUTAGE_CLASSES = new Set(['08', '40', '53', '57', '58'])

function isOutage(error: unknown): boolean {
  if (error instanceof postgres.PostgresError) return OUTAGE_CLASSES.has(error.code.slice(0, 2))
  return error instanceof Late || isBroken(error)
}

/**
 * Whether the server rolled a statement back because of its own data, or in favour of another statement (serialization
 * failure, deadlock): nothing of it was applied, and some of its rows may succeed without the others.
 */
export function isRolledBack(error: unknown): boolean {
  const cause = error instanceof Problem ? error.cause : error
  return cause instanceof postgres.PostgresError && /^(22...|23...|40001|40P01)$/.test(cause.code)
}

/** The problem for a call that missed its deadline, before or after it was sent to the database. */
export function outOfTime(): Problem {
  return unavailable(new Late('the deadline passed before the statement was answered'))
}

/** Errors of postgres.js and of sockets have codes in letters, such as CONNECTION_CLOSED or ECONNREFUSED. */
function isBroken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^(CONNECT|ECONN|ENO|EPIPE|ETIMEDOUT)/.test(String(error.code))
}

function unavailable(cause: unknown): Problem {
  return new Problem('database_unavailable', 'The database did not answer as it should. Try again.', { cause })
}
