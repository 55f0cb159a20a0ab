/** Idempotency keys: a retry with the same key gets the first answer, not a second object. */

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Problem } from '../../problem.ts'
import { concerns } from '../../telemetry/record.ts'
import type { Idempotency } from '../object/new-object.ts'
import type { MediaRow, StoredObject, UnsettledObject } from '../object/object.ts'
import type { Repository } from '../table/repository.ts'

const POLL_MS = 200
const WAIT_MS = 5000

/** Identifies a request by every part that makes a difference, bytes by their own hash. */
export function idempotencyOf(key: string | undefined, ...parts: unknown[]): Idempotency | undefined {
  if (key === undefined) return undefined
  const hash = createHash('sha256')
  for (const part of parts) {
    if (part instanceof Uint8Array) hash.update(createHash('sha256').update(part).digest())
    else hash.update(`${JSON.stringify(part)}\n`)
  }
  return { key, hash: hash.digest('hex') }
}

/**
 * The object of an earlier upload with this key; null when there was none, or it failed. Waits a while for one that is
 * still running; one that has run for longer than `attemptSeconds` is dead, and given to `discard`.
 * @throws Problem `idempotency_conflict`, or `state_conflict` when the first is still running, or its object was
 * deleted
 */
export async function earlierUpload(
  { repository }: { repository: Pick<Repository, 'uploads'> },
  discard: (row: MediaRow) => Promise<void>,
  { userId, idempotency, attemptSeconds }: { userId: string; idempotency: Idempotency; attemptSeconds: number },
): Promise<StoredObject | null> {
  for (let waited = 0; ; waited += POLL_MS) {
    const row = await repository.uploads.findAttempt(userId, idempotency.key, attemptSeconds)
    if (row === null) return null
    refuseOther(row, idempotency)
    concerns(row.id)
    if (row.status === 'active') return row
    if (row.status !== 'pending') throw settled(row)
    if (!row.underWay) {
      await discard(row)
      return null
    }
    if (waited >= WAIT_MS)
      throw new Problem('state_conflict', 'The first request with this Idempotency-Key is still at work.', {
        retryAfterSeconds: 5,
      })
    await sleep(POLL_MS)
  }
}

/**
 * The pending upload of an earlier request with this key; null when there was none, or it failed.
 * @throws Problem `idempotency_conflict`, or `state_conflict` with the object's id when that is complete or deleted
 */
export async function earlierPending(
  repository: Pick<Repository, 'uploads'>,
  userId: string,
  idempotency: Idempotency,
): Promise<UnsettledObject | null> {
  const row = await repository.uploads.findAttempt(userId, idempotency.key, 0)
  if (row === null) return null
  refuseOther(row, idempotency)
  concerns(row.id)
  if (row.status !== 'pending') throw settled(row)
  return row
}

function refuseOther(row: { hash: string }, { hash }: Idempotency): void {
  if (row.hash !== hash)
    throw new Problem('idempotency_conflict', 'This Idempotency-Key came with another request before.')
}

/** A client that lost the answer continues with the id: with `complete`, which is idempotent. */
function settled({ id, status }: MediaRow): Problem {
  const became = status === 'active' ? 'is complete: call complete, or get it' : 'was deleted'
  return new Problem('state_conflict', `The upload of this Idempotency-Key ${became}.`, { id })
}

/** A part that a request without a hold lacks, so that its hash is what it was before there were holds. */
export function heldFor(holdSeconds: number | undefined): { holdSeconds: number }[] {
  return holdSeconds === undefined ? [] : [{ holdSeconds }]
}
