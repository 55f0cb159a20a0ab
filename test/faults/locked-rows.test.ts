import { describe, expect } from 'bun:test'
import { newUser } from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { type FaultStage, faultTest, timed } from '../support/process/faults.ts'
import { haveServices } from '../support/services/shared.ts'

const LOCKED_MS = 4000
/** Of the statement that waits for the lock. */
const DEADLINE_MS = 5000
const CALLS = 200
/** They come evenly while the row is locked. */
const EVERY_MS = 18
const GOAL_MS = 100
/** After which a second statement passes by one that waits. */
const LANE_MS = 50
/** Deletes that come together with that of the locked row. */
const CROWD = 6
// A machine that is busy with something else just then is given another chance.
const ROUNDS = 3

const rocket = await readCorpus('accept/rocket.jpg')

describe.skipIf(!(await haveServices()))('a row that somebody else has locked for 4 s', () => {
  faultTest(
    'holds up nobody but the delete of it: other deletes, gets and uploads take what they always do',
    async (stage) => {
      const user = newUser()
      for (let round = 1; ; round++) {
        const free = await untouched(stage, user)
        const locked = await besideLock(stage, user)
        console.log(`beside a locked row: p99 ${ms(locked)} ms, without one ${ms(free)} ms`)
        // As much as is asked for on a machine that does nothing else.
        if (percentile(locked) < Math.max(GOAL_MS, LANE_MS + 3 * percentile(free))) break
        expect(round).toBeLessThan(ROUNDS)
      }
    },
  )
})

/** How long each of the calls takes without a lock, in milliseconds. */
async function untouched(stage: FaultStage, user: string): Promise<number[]> {
  return others(stage, user, await objects(stage, user))
}

/** The same while a row is locked, and for as long as they need: none of them can have waited for it. */
async function besideLock(stage: FaultStage, user: string): Promise<number[]> {
  const { id } = await stage.uploaded(user)
  const ids = await objects(stage, user)
  const outcome: { late?: Promise<Response>; took: number[] } = { took: [] }
  const begun = performance.now()
  await stage.inside.whileLocked(id, async () => {
    const [first = '', ...crowd] = ids.splice(0, CROWD)
    const before = removed(stage, user, first)
    outcome.late = stage.remove(user, id)
    const beside = await Promise.all([before, ...crowd.map((other) => removed(stage, user, other))])
    const stranger = await timed(stage.remove(newUser(), id))
    expect(stranger.result.status).toBe(404)
    outcome.took = [...beside, ...(await others(stage, user, ids))]
    await Bun.sleep(Math.max(0, begun + LOCKED_MS - performance.now()))
    expect((await stage.inside.rowOf(id))?.status).toBe('active')
  })
  const { status } = (await outcome.late)!
  if (performance.now() - begun < DEADLINE_MS - 500) expect(status).toBe(204)
  else expect([204, 503]).toContain(status)
  return outcome.took
}

async function removed(stage: FaultStage, user: string, id: string): Promise<number> {
  const { result, seconds } = await timed(stage.remove(user, id))
  expect(result.status).toBe(204)
  return seconds * 1000
}

async function objects(stage: FaultStage, user: string): Promise<string[]> {
  const made: string[] = []
  for (let i = 0; i < CALLS / 3 + CROWD; i++) made.push((await stage.uploaded(user)).id)
  return made
}

/** Deletes of these, gets and uploads in turns, so many a second; each has to succeed. */
async function others(stage: FaultStage, user: string, ids: string[]): Promise<number[]> {
  const calls = Array.from({ length: CALLS }, async (_, i) => {
    await Bun.sleep(i * EVERY_MS)
    // The last one is never deleted.
    const id = (i % 3 === 0 ? ids.at(-1) : ids[Math.floor(i / 3)]) ?? ''
    const { result, seconds } = await timed(
      i % 3 === 0 ? stage.get(user, id) : i % 3 === 1 ? stage.upload(user, rocket) : stage.remove(user, id),
    )
    expect(result.status).toBe([200, 201, 204][i % 3] ?? 0)
    return seconds * 1000
  })
  return Promise.all(calls)
}

function percentile(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * 0.99) - 1] ?? 0
}

const ms = (values: number[]) => Math.round(percentile(values))
