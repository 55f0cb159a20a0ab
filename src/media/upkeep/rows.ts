/** Batches of rows for the steps of upkeep: a slow or failing row never keeps the others from being done. */
import pLimit from 'p-limit'
import type { Owing } from '../outbox/send.ts'
import { BATCH_ROWS, type UpkeepDeps } from './step.ts'

const ROWS_AT_ONCE = 8
// A failed row stays claimed for a while, and then comes again: the other steps must not wait for it.
const FAILING_MS = 60_000

/**
 * Claims batches until one is not full, and processes each row.
 * @throws the failures when everything else is done, or after a minute; or at once when a whole batch failed because
 * the store does not answer
 */
export async function inBatches<Row>(
  { storage, stopping }: Pick<UpkeepDeps<never>, 'storage' | 'stopping'>,
  limit: number,
  claim: (limit: number) => Promise<Row[]>,
  one: (row: Row) => Promise<void>,
): Promise<void> {
  const errors: unknown[] = []
  const end = performance.now() + FAILING_MS
  for (;;) {
    const rows = await claim(limit)
    const failed = await doEach(rows, one)
    errors.push(...failed)
    if (rows.length < limit || stopping() || (errors.length > 0 && performance.now() > end)) break
    if (failed.length === rows.length) await storage.check()
  }
  failWith(errors)
}

/**
 * Changes rows by one statement for each batch until one is not full, and sends the events that they owe.
 * @param count called with the number of rows of each batch
 */
export async function changeInBatches(
  { relay, log }: Pick<UpkeepDeps<never>, 'relay' | 'log'>,
  change: (limit: number) => Promise<Owing[]>,
  count: (rows: number) => void,
): Promise<void> {
  for (;;) {
    const rows = await change(BATCH_ROWS)
    count(rows.length)
    // The rows owe these events in any case, and stay until they are sent.
    await relay.send(rows).catch((error) => log.warn({ err: error }, 'upkeep: events not sent, they stay owed'))
    if (rows.length < BATCH_ROWS) return
  }
}

/** Processes each row, some at once, and returns the failures. */
export async function doEach<Row>(rows: readonly Row[], one: (row: Row) => Promise<unknown>): Promise<unknown[]> {
  const places = pLimit(ROWS_AT_ONCE)
  const outcomes = await Promise.allSettled(rows.map((row) => places(() => one(row))))
  return outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
}

/** @throws the failures, if there are any */
export function failWith(errors: readonly unknown[]): void {
  if (errors.length > 0) throw new AggregateError(errors, `${errors.length} could not be done`, { cause: errors[0] })
}
