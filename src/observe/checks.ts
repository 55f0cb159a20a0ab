/** Whether the parts that the service stands on answer. */
import { inTime } from '../deadline.ts'

/** Each resolves when its part can be used, and rejects when not; what listens to the signal ends with it. */
export type Checks = Record<'database' | 'storage' | 'events', (options: { signal: AbortSignal }) => Promise<void>>

// Whoever asks gives up after a few seconds, and would never hear which part it is.
const CHECK_MS = 2000

/** Never rejects: what takes longer than two seconds does not work. */
export async function works(check: Checks[keyof Checks]): Promise<boolean> {
  const signal = AbortSignal.timeout(CHECK_MS)
  const checked = check({ signal }).then(
    () => true,
    () => false,
  )
  return inTime(checked, CHECK_MS, () => false)
}
