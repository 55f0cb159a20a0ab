/** The kinds of database errors, told apart by SQLSTATE and by the codes of postgres.js and sockets. */
import postgres from 'postgres'
import { Problem } from '../problem.ts'

/** A query without an answer at its deadline. */
export class Late extends Error {}

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
const READ_ONLY = '25006'
const LOCK_NOT_AVAILABLE = '55P03'

/** Whether the database is to blame and trying again may help. */
export function isOutage(error: unknown): boolean {
  const state = sqlStateOf(error)
  if (state === undefined) return error instanceof Late || isBroken(error)
  return OUTAGE_CLASSES.has(state.slice(0, 2)) || state === READ_ONLY || state === LOCK_NOT_AVAILABLE
}

/**
 * Whether the server takes no changes: a standby, or a primary that was demoted while its connections stayed open. A new
 * connection may lead to the new primary.
 */
export function isReadOnly(error: unknown): boolean {
  return sqlStateOf(error) === READ_ONLY
}

/** Whether the server ends connections or refuses them: it stops, crashed, or was told to (57P01 to 57P05). */
export function isShutdown(error: unknown): boolean {
  return /^57P0/.test(sqlStateOf(error) ?? '')
}

/**
 * Whether the server rolled a statement back because of its own data, or in favour of another statement (serialization
 * failure, deadlock): nothing of it was applied, and some of its rows may succeed without the others.
 */
export function isRolledBack(error: unknown): boolean {
  const state = sqlStateOf(error instanceof Problem ? error.cause : error)
  return state !== undefined && /^(22...|23...|40001|40P01)$/.test(state)
}

/** Whether a statement conflicted with another at an isolation level above the default, and may succeed if repeated. */
export function isSerializationFailure(error: unknown): boolean {
  return sqlStateOf(error) === '40001'
}

/**
 * Whether a session does not know a prepared statement, has another one under its name, or was sent parameters for
 * another one: behind a pooler that changes sessions. The statement was not executed.
 */
export function isUnprepared(error: unknown): boolean {
  return ['26000', '42P05', '08P01'].includes(sqlStateOf(error) ?? '')
}

/** Errors of postgres.js and of sockets have codes in letters, such as CONNECTION_CLOSED or ECONNREFUSED. */
export function isBroken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^(CONNECT|ECONN|ENO|EPIPE|ETIMEDOUT)/.test(String(error.code))
}

/** The problem for a call that missed its deadline, before or after it was sent to the database. */
export function outOfTime(): Problem {
  return unavailable(new Late('the deadline passed before the statement was answered'))
}

export function unavailable(cause: unknown): Problem {
  return new Problem('database_unavailable', 'The database did not answer as it should. Try again.', { cause })
}
