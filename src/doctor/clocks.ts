/** Compares the clocks of the database, the store and Redis with that of this machine. */
import { type Finding, findingsAbout } from '../finding.ts'
import type { ClockReading } from './set-up.ts'

// From here on stores refuse signatures (AWS: 15 minutes), or a link has expired before it is used.
const FAR_MS = 5 * 60_000
// Links and tokens live for minutes; what NTP keeps differs by milliseconds.
const TOLERATED_MS = 5000

const { warning } = findingsAbout('clock')

/** One finding for each clock that is wrong; when all differ from this machine's alike, it is this machine's. */
export function compareClocks(readings: readonly ClockReading[]): Finding[] {
  const off = readings.filter((reading) => Math.abs(aheadOf(reading)) > TOLERATED_MS + spanOf(reading))
  const [first] = off
  if (first === undefined) return []
  const alike = off.every((reading) => Math.abs(aheadOf(reading) - aheadOf(first)) <= TOLERATED_MS)
  if (off.length > 1 && off.length === readings.length && alike)
    return [
      warning(
        'clock',
        `this machine's clock is ${told(-aheadOf(first))} those of ${readings.map(({ name }) => name).join(', ')}`,
        'have NTP set it',
      ),
    ]
  return off.map((reading) =>
    warning(
      reading.setting,
      `the clock of ${reading.name} is ${told(aheadOf(reading))} that of this machine`,
      'have NTP set both',
    ),
  )
}

/** Whether the clocks differ so much that signatures are refused for it. */
export function isFar(reading: ClockReading | undefined): boolean {
  return reading !== undefined && Math.abs(aheadOf(reading)) > FAR_MS
}

/** Milliseconds by which the clock is ahead of this machine's. */
function aheadOf({ time, from, until }: ClockReading): number {
  return time - (from + until) / 2
}

function spanOf({ from, until }: ClockReading): number {
  return (until - from) / 2
}

function told(ahead: number): string {
  return `${Math.round(Math.abs(ahead) / 1000)} s ${ahead > 0 ? 'ahead of' : 'behind'}`
}
