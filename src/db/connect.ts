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
 * Most connections to Postgres at once. Statements that are gathered make the number nearly free. With durable commits, on
 * a busy machine, 4 took of the CPU time that 8 take: presign 0.94, 0.96 and 1.11 at 1, 16 and 64 at once, get 0.90, 1.04
 * and 1.00, upload 1.06, 0.83 and 0.61 in one run and 0.86 and 1.05 at 16 and 64 in the next, delete 1.11 at 1; 2 were no
 * better than 4. A locked row or a transaction may hold one for long, so there are 8: gathered statements have six, half
 * of them for locked rows, and all others two.
 */
export const POOL_CONNECTIONS = 8

/** How long any query may take, in milliseconds. */
export const DATABASE_DEADLINE_MS = 5000

// A pool younger than this is not replaced: a server that is only slow must not drown in new connections.
const SLOW_RENEWAL_MS = 15_000
const BROKEN_RENEWAL_MS = 1000

/**
 * Connects to Postgres at a URL, or over a Unix socket to the embedded one. Nothing is opened before the first query.
 * A pool whose connections hang or break is replaced behind the handle that is returned.
 * @param target `prepare: false`: statements are sent whole each time, for a pooler that does not carry prepared ones
 */
export function connect(target: { url: string; prepare?: boolean } | { socket: string }): Sql {
  const options = {
    // Tells this version's connections from those of versions that corrupt rows beside a migration (shape-statements.ts).
    connection: { application_name: 'media-service' },
    connect_timeout: DATABASE_DEADLINE_MS / 1000,
    // Seconds. By default each failure triples the pause of all connections, up to 20: longer than any query waits.
    backoff: () => 0.1,
    onnotice: () => {},
    // It asks for the types of arrays on each new connection and does not expect that to fail (3.4.9): a connection that
    // broke just then would end the process.
    fetch_types: false,
    types: {
      // Sizes are below 2^53, so a number holds them.
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
  // PGlite serves one connection only: a second one gets `portal "" does not exist` (0.5.14).
  return postgres({ ...options, path: target.socket, username: 'postgres', database: 'postgres', max: 1 })
}

/** An option given here would win over the URL's own `?prepare=false`. */
function preparing({ prepare }: { prepare?: boolean }) {
  return prepare === false ? { prepare } : {}
}

/**
 * Leaves text alone. postgres.js (3.4.9) repeats a statement when the server says that its plan is old or unknown, as after
 * an ALTER or behind a pooler, and serializes the parameters again, which are text by then: an object would become a JSON
 * string, true would become false. So no statement may have a string as a JSON parameter.
 */
function once<T>(serialize: (value: T) => string) {
  return (value: T | string) => (typeof value === 'string' ? value : serialize(value))
}

function isTrue(text: string): boolean {
  return text === 't'
}

/** An array of strings as a parameter, for this type of the database (pg_type.oid). No query answers with one. */
function arrayOf(oid: number) {
  const quote = (item: string) => `"${item.replace(/[\\"]/g, '\\$&')}"`
  const serialize = once((items: string[]) => `{${items.map(quote).join(',')}}`)
  return { to: oid, from: [], serialize, parse: (): string[] => [] }
}

/** What replaces the pool that a query was made for, if that is old enough (in milliseconds). */
const renewals = new WeakMap<object, (age: number) => void>()

/**
 * A handle on a pool that can be replaced, which postgres.js (3.4.9) needs in two cases. It waits for ever on a
 * connection that stays open and dead, as after a failover or behind a packet filter, and hands it more queries; and a
 * connection that broke while a query was about to be written never writes again, not even when it is made anew. Which
 * ones are lost, nobody can tell from outside; so all of them go, after what still runs on them.
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
 * A statement whose text never changes, with parameters $1, $2 and so on. The client makes any other statement's text
 * out of its pieces each time, which costs more than all else that it does for a long one.
 */
export function prepared<T extends object>(sql: Queryable, text: string, parameters: Parameters<Sql['unsafe']>[1]) {
  return sql.unsafe<T[]>(text, parameters, { prepare: true })
}

let underWay = 0

/** How many queries of this process have a connection or wait for one. */
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
 * Asks the server to cancel a query. `query.cancel()` would do the same, and drop a promise whose rejection, when the
 * server refuses connections, ends the process (postgres.js 3.4.9).
 */
function cancel(query: object): void {
  if ('canceller' in query && typeof query.canceller === 'function')
    Promise.resolve(query.canceller(query)).catch(() => {})
}

/** What the server says that it is, as `18.6`. */
export async function serverVersion(sql: Sql): Promise<string> {
  const [row] = await within(sql<{ server_version: string }[]>`SHOW server_version`)
  return row?.server_version ?? ''
}

/** Whether an error says that a statement would have broken this unique index or constraint (SQLSTATE class 23). */
export function violates(error: unknown, constraint: string): boolean {
  return error instanceof postgres.PostgresError && error.constraint_name === constraint
}

/** The five characters by which the server says what went wrong; undefined for any other error. */
export function sqlStateOf(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError ? error.code : undefined
}

// Classes of SQLSTATE: connection, rolled back (deadlock), out of resources, operator intervention, system.
const OUTAGE_CLASSES = new Set(['08', '40', '53', '57', '58'])

function isOutage(error: unknown): boolean {
  if (error instanceof postgres.PostgresError) return OUTAGE_CLASSES.has(error.code.slice(0, 2))
  return error instanceof Late || isBroken(error)
}

/**
 * Whether the server says that it rolled a statement back because of what was in it, or in favour of another one
 * (serialization failure, deadlock): nothing of it was applied, and a part of it may be good.
 */
export function isRolledBack(error: unknown): boolean {
  const cause = error instanceof Problem ? error.cause : error
  return cause instanceof postgres.PostgresError && /^(22...|23...|40001|40P01)$/.test(cause.code)
}

/** The problem of what waited too long to be sent to the database, or for its answer. */
export function outOfTime(): Problem {
  return unavailable(new Late('the deadline passed before the statement was answered'))
}

/** An error of the client library itself has a code of letters, such as CONNECTION_CLOSED or ECONNREFUSED. */
function isBroken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^(CONNECT|ECONN|ENO|EPIPE|ETIMEDOUT)/.test(String(error.code))
}

function unavailable(cause: unknown): Problem {
  return new Problem('database_unavailable', 'The database did not answer as it should. Try again.', { cause })
}
