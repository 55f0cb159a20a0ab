/** Random sequences of what people, processes and misfortune do. */
import fc from 'fast-check'
import { faults, type Plan } from './circuit.ts'

/** What is done to the object of that number, modulo how many there are. */
export type Act =
  | { do: 'get' | 'complete' | 'delete' | 'restore'; mine: boolean }
  | { do: 'update'; mine: boolean; isPublic: boolean }
  | { do: 'put'; right: boolean }
  | { do: 'upkeep' | 'relay' }

export type Step =
  | { do: 'upload'; person: number; isPublic: boolean; fault: Plan | null }
  /** So many at the same time, by one process. `arrived`: what is declared is put on each link at once. */
  | { do: 'presign'; count: number; arrived: boolean; person: number; isPublic: boolean; fault: Plan | null }
  | { do: 'upload again'; object: number; fault: Plan | null }
  | { do: 'act'; object: number; act: Act; fault: Plan | null }
  /** All at the same time, their calls to the outside in the order that the numbers choose. */
  | { do: 'together'; object: number; acts: Act[]; order: number[]; fault: Plan | null }
  /** All at the same time by one process, whose calls to the database go together. */
  | { do: 'at once'; acts: { object: number; act: Act }[]; fault: Plan | null }
  | { do: 'list'; person: number }
  | { do: 'wait'; seconds: number }
  | { do: 'bus'; up: boolean }

export const PEOPLE = 3

const number = fc.nat(5)
const person = fc.nat(PEOPLE - 1)
const mine = fc.boolean().chain((sure) => (sure ? fc.constant(true) : fc.boolean()))
const fault = fc.option(fc.record({ at: fc.integer({ min: 1, max: 8 }), fault: fc.constantFrom(...faults) }), {
  freq: 2,
})

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('complete' as const), mine }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), mine }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('restore' as const), mine }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('get' as const), mine }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('update' as const), mine, isPublic: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('put' as const), right: mine }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('upkeep' as const, 'relay' as const) }) },
)

const aimed = fc.record({ object: number, act })

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('upload' as const), person, isPublic: fc.boolean(), fault }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('presign' as const),
      count: fc.integer({ min: 1, max: 3 }),
      arrived: fc.boolean(),
      person,
      isPublic: fc.boolean(),
      fault,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('upload again' as const), object: number, fault }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constant('act' as const), object: number, act, fault }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('together' as const),
      object: number,
      acts: fc.array(act, { minLength: 2, maxLength: 4 }),
      order: fc.array(number, { minLength: 4, maxLength: 12 }),
      fault,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('at once' as const),
      // Mostly the same, since only calls of one kind go together.
      acts: fc
        .tuple(act, fc.array(number, { minLength: 3, maxLength: 6 }), fc.array(aimed, { maxLength: 2 }))
        .map(([same, objects, others]) => [...objects.map((object) => ({ object, act: same })), ...others]),
      fault,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('list' as const), person }) },
  // A minute, an hour, more than half a day, more than a day, more than the retention time.
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      seconds: fc.constantFrom(67, 3701, 47_000, 91_000, 2_600_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('bus' as const), up: fc.boolean() }) },
)

export const sequences = fc.array(step, { minLength: 4, maxLength: 20, size: 'max' })
