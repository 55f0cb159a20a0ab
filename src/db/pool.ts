/** A pool of connections that can be replaced while it is in use. */
import type postgres from 'postgres'
import { isBroken, isReadOnly, isShutdown, isUnprepared, Late } from './errors.ts'
import type { Sql } from './sql.ts'

// A pool younger than this is not replaced: a slow server must not be flooded with new connections.
const SLOW_RENEWAL_MS = 15_000
const BROKEN_RENEWAL_MS = 1000
const CLOSE_SECONDS = 5

/** The pool of a query, for what its outcome says about the pool. */
type Origin<T extends readonly (object | undefined)[]> = {
  /** The same query again, on the pool of now. */
  repeat(): postgres.PendingQuery<T>
  /** Replaces the pool if the failure says that its connections are of no use. */
  failed(error: unknown): void
  /** Replaces the pool by one without prepared statements; false if that is not possible. */
  stopPreparing(error: unknown): boolean
}

type Options = {
  prepare: boolean
  /** Called when the pool is replaced by one without prepared statements; absent: it never is. */
  onPlain?: () => void
  /** Called before each replacement. */
  onRenew?: () => void
}

const origins = new WeakMap<object, Origin<never>>()

/** Undefined for queries of a transaction, and of PGlite. */
export function originOf<T extends readonly (object | undefined)[]>(query: postgres.PendingQuery<T>) {
  // What is stored under a query is about that query.
  return origins.get(query) as Origin<T> | undefined
}

/**
 * A handle on a pool that can be replaced, which postgres.js (3.4.9) needs in three cases. It waits forever on a
 * connection that is open but dead, as after a failover or behind a packet filter, and sends it more queries; a
 * connection that broke just before a query was written never writes again, not even after it reconnects; and
 * connections to a server that was demoted stay with it. The library does not show which connections are affected, so
 * the whole pool is replaced, and closed once its running queries have ended.
 */
export function renewable(open: (prepare: boolean) => Sql, options: Options): Sql {
  let { prepare } = options
  let pool = open(prepare)
  let renewedAt = Number.NEGATIVE_INFINITY
  let ended = false
  const renew = (age: number) => {
    if (ended || performance.now() - renewedAt < age) return
    renewedAt = performance.now()
    void pool.end({ timeout: CLOSE_SECONDS })
    options.onRenew?.()
    pool = open(prepare)
  }
  const failed = (error: unknown) => {
    if (error instanceof Late) renew(SLOW_RENEWAL_MS)
    else if (isBroken(error) || isReadOnly(error) || isShutdown(error)) renew(BROKEN_RENEWAL_MS)
  }
  const stopPreparing = (error: unknown) => {
    if (options.onPlain === undefined || !isUnprepared(error)) return false
    if (!prepare) return true
    prepare = false
    options.onPlain()
    renew(0)
    return true
  }
  const tracked = <Q extends object>(query: Q, repeat: () => postgres.PendingQuery<never>): Q => {
    origins.set(query, { repeat, failed, stopPreparing })
    return query
  }
  const end: Sql['end'] = (options) => {
    ended = true
    return pool.end(options)
  }
  const unsafe: Sql['unsafe'] = (...args) => tracked(pool.unsafe(...args), () => pool.unsafe(...args))
  return new Proxy(pool, {
    apply: (_, self, args) => tracked(Reflect.apply(pool, self, args), () => Reflect.apply(pool, self, args)),
    get: (_, name) => (name === 'end' ? end : name === 'unsafe' ? unsafe : Reflect.get(pool, name)),
  })
}
