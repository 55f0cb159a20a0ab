/**
 * Looks again at a store that is between two states: versitygw 1.8.0 takes the parts of an upload away before the object
 * is there, and answers a second completion as if it were.
 */
import { setTimeout as sleep } from 'node:timers/promises'

// Milliseconds; two seconds together.
const PAUSES = [0, 50, 150, 300, 500, 1000]

/** The first look that is not undefined; undefined when none is. */
export async function lookAgain<T>(look: () => Promise<T | undefined>): Promise<T | undefined> {
  for (const pause of PAUSES) {
    if (pause > 0) await sleep(pause)
    const seen = await look()
    if (seen !== undefined) return seen
  }
  return undefined
}
