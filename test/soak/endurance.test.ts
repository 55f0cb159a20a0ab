import { describe, expect, test } from 'bun:test'
import { POOL_CONNECTIONS } from '../../src/db/connect.ts'
import { haveServices } from '../support/services/shared.ts'
import { endure, summary } from './endurance.ts'

// One to the store for each of those who upload at once comes and goes.
const SPARE = 16

// The short form; `bun run soak --requests 200000` is the long one.
describe.skipIf(!(await haveServices()) || process.platform !== 'linux')('after thousands of requests', () => {
  test('a service holds no more than it did', async () => {
    const endurance = await endure({ requests: 6000, warmUp: 3000 })
    console.log(summary(endurance))
    const { before, after, faults } = endurance
    expect(faults).toEqual([])
    expect(after.memory).toBeLessThan(before.memory * 1.2)
    expect(after.files).toBeLessThanOrEqual(before.files + SPARE)
    // The pool opens its last ones only when all others happen to be taken.
    expect(after.connections).toBeLessThanOrEqual(POOL_CONNECTIONS)
  }, 180_000)
})
