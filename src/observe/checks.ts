/** Readiness checks of the database, store and event bus. */
import { inTime } from '../deadline.ts'

/** Each check resolves when its dependency is usable and rejects when not; the signal cancels it. */
export type Checks = Record<'database' | 'storage' | 'events', (options: { signal: AbortSignal }) => Promise<void>>

// Probes time out after a few seconds, and would not learn which dependency failed.
const CHECK_MS = 2000

/** Never rejects: a check that takes longer than two seconds counts as failed. */
export async function works(check: Checks[keyof Checks]): Promise<boolean> {
  const signal = AbortSignal.timeout(CHECK_MS)
  const checked = check({ signal }).then(
    () => true,
    () => false,
  )
  return inTime(checked, CHECK_MS, () => false)
}
