/** What the checks of the doctor are given, and what they tell. */
import { type Finding, SetupError } from '../finding.ts'

/** What one clock said, and when that was by the clock of this machine; Unix times in milliseconds. */
export type ClockReading = { setting: string; name: string; time: number; from: number; until: number }

export type Examined = {
  /** What was looked at, for people. */
  name: string
  findings: Finding[]
  clock?: ClockReading | undefined
}

/** The findings of a check that throws them. */
export async function findingsOf(check: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await check()
  } catch (error) {
    if (error instanceof SetupError) return [...error.findings]
    throw error
  }
}

/** Has a clock read while this machine's is looked at. */
export async function readClock(
  clock: { setting: string; name: string },
  now: () => number,
  read: () => Promise<number | undefined>,
): Promise<ClockReading | undefined> {
  const from = now()
  const time = await read()
  return time === undefined ? undefined : { ...clock, time, from, until: now() }
}
