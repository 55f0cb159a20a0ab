/** Idle-time work of upkeep: no caller waits for it, so a pass does it for a limited time and number. */
import { Problem } from '../../problem.ts'
import { NotDone } from '../decoding/decode.ts'
import { isRefusal } from '../object/outcomes.ts'
import type { UpkeepDeps } from './step.ts'

const IDLE_MS = 15_000
const IDLE_TIMES = 100
const MOST_FAILURES = 10

/** `none`: there is nothing to do. `busy`: the decoders have no place now. */
export type Progress = 'done' | 'none' | 'busy'

/**
 * Calls `doOne` again and again, for a limited time, until there is nothing to do. Up to MOST_FAILURES failures do not
 * end it for the others; the first one is thrown at the end.
 */
export async function inIdleTime(
  { now, stopping }: Pick<UpkeepDeps<never>, 'now' | 'stopping'>,
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

/**
 * What a failure of a decoder's task means for the next ones.
 * @param release gives the row back, because nothing was found out about it
 * @throws the error, where neither the picture nor the decoders are to blame
 */
export async function afterFailure(error: unknown, release: () => Promise<void>): Promise<Progress> {
  if (error instanceof NotDone) {
    await release()
    return 'busy'
  }
  // The row has the outcome, and when to try again.
  if (error instanceof Problem && (isRefusal(error) || error.code === 'overloaded')) return 'done'
  throw error
}

/** The party and deadline of upkeep's decoder tasks: served after all callers. */
export function forUpkeep(): { party: string; until: number } {
  return { party: 'upkeep', until: Date.now() + IDLE_MS }
}
