import { describe, expect, test } from 'bun:test'
import { haveServices } from '../support/services/shared.ts'
import { soak, summary } from './soak.ts'

// The short form; `bun run soak --minutes 30` is the long one.
const KILLS = 15

/**
 * Promises 1, 2, 3 and 6 together. Tried: without `outbox.claim` in the relay's `run` events are missing, and without
 * `removeOrphans` among upkeep's steps bytes are left.
 */
describe.skipIf(!(await haveServices()))('real processes, killed under load', () => {
  test('lose no upload, refuse no honest one, hold no more than their limit, and leave nothing behind', async () => {
    const seed = Date.now() % 2 ** 32
    const report = await soak({ seconds: 10, kills: KILLS, seed, runtimes: ['bun', 'bun'] })
    console.log(`${summary(report)} (seed ${seed})`)
    expect(report.faults).toEqual([])
    expect(report.damage.kills).toBeGreaterThanOrEqual(KILLS)
    expect(Math.min(...Object.values(report.damage.restarts))).toBeGreaterThan(0)
    expect(report.won).toBeGreaterThan(0)
    expect(report.wishes.filter(({ id }) => id !== undefined).length).toBeGreaterThan(10)
  }, 400_000)
})
