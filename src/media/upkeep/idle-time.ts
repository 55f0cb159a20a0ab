/** What nobody waits for is done for this long in a pass, and so many times. */
import type { UpkeepDeps } from './step.ts'

const IDLE_MS = 15_000
const IDLE_TIMES = 100
const MOST_FAILURES = 10

/** `none`: there is nothing to do. `busy`: the decoders have no place now. */
export type Progress = 'done' | 'none' | 'busy'

/**
 * One at a time and for a while only, until there is nothing to do. One that fails does not end it for the others; the
 * first failure is thrown after them.
 */
export async function inIdleTime(
  { now, stopping }: Pick<UpkeepDeps, 'now' | 'stopping'>,
  doOne: () => Promise<Progress>,
): Promise<void> {
  const end = now() + IDLE_MS
  const failures: unknown[] = []
  for (let i = 0; i < IDLE_TIMES && now() < end && !stopping(); i += 1) {
    const progress = await doOne().catch((error): Progress => {
      failures.push(error)
      return failures.length < MOST_FAILURES ? 'done' : 'none'
    })
    if (progress !== 'done') break
  }
  if (failures.length > 0) throw failures[0]
}

/** As upkeep asks the decoders: after everyone else, and not for ever. */
export function forUpkeep(): { party: string; until: number } {
  return { party: 'upkeep', until: Date.now() + IDLE_MS }
}
