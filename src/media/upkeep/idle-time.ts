/** Work that nobody waits for. */
import type { UpkeepDeps } from './step.ts'

// How long it is done in a pass, and how often.
const IDLE_MS = 15_000
const IDLE_TIMES = 100

/** One at a time and for a while only, until `doOne` says that there is nothing to do. */
export async function inIdleTime(
  { now, stopping }: Pick<UpkeepDeps, 'now' | 'stopping'>,
  doOne: () => Promise<boolean>,
): Promise<void> {
  const end = now() + IDLE_MS
  for (let i = 0; i < IDLE_TIMES && now() < end && !stopping(); i += 1) if (!(await doOne())) return
}
