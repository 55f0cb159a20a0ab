import { longForms } from '../support/process/long.ts'
import { type WorldName, worlds } from './world.ts'

/** Counted from 1: `first`, and then every one, or every other one. */
export type Share = { first: number; step: 1 | 2 }

/**
 * Which calls of an operation have a fault in this world: where there are two worlds every other one, and the rest in the
 * other. `row` is the number of the fault, so that each world begins with the first call for half of them.
 */
export function shareOf(world: WorldName, row: number): Share {
  if (longForms || worlds.some(({ present }) => !present)) return { first: 1, step: 1 }
  return { first: 1 + ((row + parityOf(world)) % 2), step: 2 }
}

/** Differs between the worlds. */
export function parityOf(world: WorldName): number {
  return worlds.findIndex(({ name }) => name === world)
}
