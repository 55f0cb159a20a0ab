/**
 * Gathering: concurrent calls for statements of one kind go to the database as one batch statement. One statement for
 * 20 rows costs the service and the database a fraction of 20 statements.
 *
 * Guarantees for callers:
 * - A single call is sent at the end of the current turn of the event loop, by the statement for one call if the kind
 *   has one. While a statement of its kind runs, calls gather and are sent together when it ends: at most 64, the rest
 *   with the next statement.
 * - A second batch of the kind begins when the running one is older than 50 ms; there are never more than two at once.
 * - Each call has its own deadline, like a single statement. A call whose deadline is near is not sent at all; a call
 *   that misses its deadline fails on its own, while the statement runs on until the deadline of its youngest call.
 *   Both get `database_unavailable`.
 * - A call fails for its own faults only. When the server rolled the batch back because of its data, each half is sent
 *   again by itself, and so on. After any other failure the outcome is unknown: nothing is repeated, and every call
 *   gets the failure.
 * - Two calls for one row never share a statement: the second is sent when the statement of the first has
 *   ended, and sees its result, unless the first waits for a lock.
 * - A row locked by another transaction delays only its own call, which then waits for the lock in a statement of its
 *   own; the other calls of the batch are delayed by at most 50 ms. Calls that wait for locks use at most half of the
 *   connections.
 * - All kinds together leave two connections of the pool for all other statements.
 * - The record of a request shows how long that request waited. The metrics count the statement once.
 */
import pLimit from 'p-limit'
import { DATABASE_DEADLINE_MS } from './connect.ts'
import { ask, type Kind, type Line, type Shared } from './gathered-calls.ts'

export type Gather = <I, O>(kind: Kind<I, O>) => (item: I) => Promise<O>

// Left for all other statements.
const OTHERS_CONNECTIONS = 2

/** @param connections size of the pool, which all kinds share */
export function createGather(connections: number, { deadlineMs = DATABASE_DEADLINE_MS } = {}): Gather {
  const most = Math.max(1, connections - OTHERS_CONNECTIONS)
  const mostAlone = Math.max(1, most >> 1)
  const shared: Shared = { slots: pLimit(most), waitingForLocks: pLimit(mostAlone), mostAlone, deadlineMs }

  return function gather<I, O>(kind: Kind<I, O>) {
    const line: Line<I, O> = {
      ...shared,
      kind,
      waiting: [],
      open: new Set(),
      underWay: new Set(),
      lanes: new Set(),
      starting: false,
      laneIsTimed: false,
      deadlineTimer: undefined,
    }
    return (item: I) => ask(line, item)
  }
}
