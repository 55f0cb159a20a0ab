/**
 * Whatever dies or fails at whatever call: one relay pass and one upkeep pass later, past PENDING_SECONDS, the promises
 * of the design hold, told by the real database and the real store.
 */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Caller } from '../../src/auth/caller.ts'
import { audit } from './audit.ts'
import { KINDS } from './batches.ts'
import { type Fault, faults, type Plan } from './circuit.ts'
import { operations } from './operations.ts'
import { attempt, type Outcome, passOver, soundly, startReplica } from './replica.ts'
import { parityOf, type Share, shareOf } from './shares.ts'
import type { Operation, Trial } from './trials.ts'
import { PENDING_SECONDS, RETENTION_SECONDS, type World, type WorldName, worlds } from './world.ts'

/** Those of one of the worlds, each in a file of its own, so that they are tried side by side. */
export function tryCrashPoints(chosen: WorldName): void {
  const found = worlds.find((one) => one.name === chosen)
  if (found === undefined) throw new Error(`no world called ${chosen}`)
  const { name, present, open } = found
  describe.skipIf(!present)(`every crash point, ${name}`, () => {
    let world: World
    let tried = 0
    let finished = 0
    const here = operations.filter(({ only = name }) => only === name)
    beforeAll(async () => {
      world = await open()
    }, 60_000)
    afterAll(async () => {
      await world.close()
      const lost = finished === here.length ? 'none lost' : 'NOT ALL HELD'
      const together = JSON.stringify(world.batches.counts())
      console.log(
        `crash points: ${tried} tried over ${finished} operations (${name}), ${lost}; went together: ${together}`,
      )
    }, 60_000)

    for (const operation of here) {
      test(`${operation.name}: nothing is lost and nothing is left`, async () => {
        const points = await walk(world, operation, name)
        expect(points).toBeGreaterThan(0)
        tried += points
        finished += 1
      }, 180_000)
    }

    test('and calls of each gathered kind went to the database together', () => {
      // Not where only some of the operations were tried.
      if (finished === here.length)
        expect(Object.keys(world.batches.counts()).toSorted()).toEqual([...KINDS].toSorted())
    })
  })
}

const WHOLE: Share = { first: 1, step: 1 }

type Point = { person: Caller; plan: Plan; retried: boolean; trial: Trial; first: Outcome<unknown>; calls: string[] }

/**
 * Tries every fault at every call that is this world's. After every other point the client comes back and asks again.
 * Returns how many points that were.
 */
async function walk(world: World, operation: Operation, name: WorldName): Promise<number> {
  const points: Point[] = []
  let count = 0
  const walkOne = async (fault: Fault, index: number) => {
    const { first, step } = operation.only === undefined ? shareOf(name, index) : WHOLE
    for (let at = first; ; at += step) {
      // Alternates over the calls, and begins differently from one fault and one world to the next.
      const retried = (Math.floor(at / step) + index + parityOf(name)) % 2 === 0
      const point = await tryPoint(world, operation, { at, fault }, retried)
      points.push(point)
      if (operation.global) expect(await settle(world, points.splice(0))).toEqual([])
      if (at > point.calls.length) break
      count += 1
    }
  }
  // Each point is another person's, so that they can be tried side by side, unless they take up all there is.
  if (operation.global) for (const [index, fault] of faults.entries()) await walkOne(fault, index)
  else await Promise.all(faults.map(walkOne))
  const wrong = await settle(world, points)
  // One after the other, to see which it was.
  for (const { plan, retried } of wrong.length > 0 ? points : []) {
    expect(await settle(world, [await tryPoint(world, operation, plan, retried)])).toEqual([])
  }
  expect(wrong).toEqual([])
  return count
}

const underWay = new Set<Promise<unknown>>()

/**
 * Work that has to succeed. Points are tried side by side on one clock, which stands still meanwhile: seven of them, each a
 * minute on, would have it take too long.
 */
async function sound<T>(work: Promise<T>): Promise<T> {
  underWay.add(work)
  return work.finally(() => underWay.delete(work))
}

/** Has the operation tried, and tried again if that is wanted and means anything. */
async function tryPoint(world: World, operation: Operation, plan: Plan, retry: boolean): Promise<Point> {
  const person: Caller = { userId: crypto.randomUUID(), role: 'user' }
  const trial = await sound(operation.begin(world, person))
  const replica = startReplica(world, { plan, unlimited: operation.unlimited === true })
  const first = await attempt(replica, trial.run)
  while (underWay.size > 0) await Promise.allSettled([...underWay])
  await world.clock.advance(60)
  const again = retry ? trial.again : undefined
  if (again) await sound(soundly(world, again))
  return { person, plan, retried: again !== undefined, trial, first, calls: replica.circuit.calls }
}

/** Lets time and the two passes go over these points, then ends all there is. Returns what is wrong, a line each. */
async function settle(world: World, points: Point[]): Promise<string[]> {
  await world.clock.advance(PENDING_SECONDS)
  const wrong = [...(await passOver(world)), ...(await audit(world))]
  for (const { trial, first, retried } of points) wrong.push(...(await trial.wrong(first, retried)))
  if (points.length > 1) wrong.push(...(await endAll(world, points)))
  await world.clear()
  const [point] = points
  return points.length === 1 && point ? wrong.map((line) => `${nameOf(point)}: ${line}`) : wrong
}

function nameOf({ plan, retried, first, calls }: Point): string {
  return `${calls.join(' ')}: ${calls[plan.at - 1]} ${plan.fault}, ${first.kind}${retried ? ', then again' : ''}`
}

/** Has everything deleted and its retention pass: what is wrong when nothing should be left. */
async function endAll(world: World, points: Point[]): Promise<string[]> {
  const page = { status: 'active', type: undefined, before: undefined, limit: 100 } as const
  await soundly(world, async ({ media }) => {
    for (const { person } of points) {
      const { objects } = await media.objects.list(person, page)
      for (const { id } of objects) await media.objects.remove(id, person)
    }
  })
  await world.clock.advance(RETENTION_SECONDS)
  const wrong = [...(await passOver(world)), ...(await audit(world))]
  const rows = await world.sql`SELECT id, status FROM media_objects`
  return [...wrong, ...rows.map(({ id, status }) => `in the end still ${status}: ${id}`)]
}
