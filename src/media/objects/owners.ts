/** Use cases on all objects of one owner: usage and erasure. */

import type { Caller } from '../../auth/caller.ts'
import type { Deps } from '../deps.ts'
import type { Quotas } from '../object/quota.ts'
import type { Usage } from '../table/owners.ts'

/** `left`: objects that are not purging yet. `purging`: those that are, until their rows are deleted. */
export type Erasure = { left: number; purging: number }

const BATCH_ROWS = 100
// Below the timeout of any gateway; the next call continues where this one stopped.
const ERASURE_MS = 5000

/** See `Owners.usage`. */
export async function usage({ repository, limits }: Deps<'owners'>, { userId }: Caller): Promise<Usage & Quotas> {
  return { ...(await repository.owners.usage(userId)), ...limits.quotas }
}

/** See `Owners.erase`. */
export async function erase(deps: Deps<'owners'>, userId: string): Promise<Erasure> {
  const { repository, now } = deps
  const end = now() + ERASURE_MS
  let more = true
  while (more && now() < end) more = await eraseBatch(deps, userId)
  return repository.owners.countLeft(userId)
}

/**
 * Sends the events of a batch before the next one begins; events that cannot be sent stay owed on the rows, which wait
 * for them.
 */
async function eraseBatch({ repository, relay, log }: Deps<'owners'>, userId: string): Promise<boolean> {
  const rows = await repository.owners.eraseStored(userId, BATCH_ROWS)
  await relay.send(rows).catch((error) => log.warn({ err: error }, 'erasure: events not sent, they stay owed'))
  const pending = await repository.owners.erasePending(userId, BATCH_ROWS)
  return rows.length === BATCH_ROWS || pending === BATCH_ROWS
}
