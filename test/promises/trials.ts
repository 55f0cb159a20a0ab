/** One operation of the service, tried from a state of its own, and what its trials have in common. */
import type { Caller } from '../../src/auth/caller.ts'
import type { Visibility } from '../../src/media/object/object.ts'
import { Problem } from '../../src/problem.ts'
import { picture } from './pictures.ts'
import { type Outcome, type Replica, soundly } from './replica.ts'
import type { World, WorldName } from './world.ts'

/** One time that an operation is tried, by one process, and perhaps again by another. */
export type Trial = {
  run(replica: Replica): Promise<unknown>
  /** What a client does when that did not end well, and it has to succeed. Upkeep and relay are repeated anyway. */
  again?(replica: Replica): Promise<unknown>
  /** What is wrong in the end, as the person sees it, a line each. */
  wrong(first: Outcome<unknown>, retried: boolean): Promise<string[]>
}
export type Operation = {
  name: string
  /** It takes up whatever there is, not only what one person has. */
  global?: boolean
  /** The one world that has such a thing. */
  only?: WorldName
  /** It is done by a process without quotas, which sends inserts of several objects together. */
  unlimited?: boolean
  begin(world: World, person: Caller): Promise<Trial>
}

export const gif = picture('image/gif', 300)
export const png = picture('image/png', 400)

export const fileOf = (idempotencyKey: string | undefined, visibility: Visibility = 'private') =>
  ({ name: 'before.gif', bytes: gif, visibility, idempotencyKey }) as const
export const declared = (idempotencyKey: string | undefined, visibility: Visibility = 'private') =>
  ({
    filename: 'before.png',
    fileType: 'image/png',
    size: undefined,
    sha256: undefined,
    visibility,
    idempotencyKey,
  }) as const

/** Resolves when the call is refused for one of these reasons. */
export async function refusedWith(call: Promise<unknown>, ...codes: string[]): Promise<void> {
  const error: unknown = await call.then(
    () => new Error('it was not refused'),
    (reason) => reason,
  )
  if (!(error instanceof Problem && codes.includes(error.code))) throw error
}

/** What was done already is not there to be done again. */
export async function orGone(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => {
    if (!(error instanceof Problem && error.code === 'not_found')) throw error
  })
}

export async function seen(world: World, person: Caller) {
  const page = { type: undefined, before: undefined, limit: 100 }
  return soundly(world, async ({ media }) => ({
    active: (await media.objects.list(person, { ...page, status: 'active' })).objects,
    deleted: (await media.objects.list(person, { ...page, status: 'deleted' })).objects,
  }))
}

type Counts = { active: number; deleted: number }

export async function expectSeen(world: World, person: Caller, ...expected: Counts[]): Promise<string[]> {
  const { active, deleted } = await seen(world, person)
  const fits = expected.some((counts) => counts.active === active.length && counts.deleted === deleted.length)
  return fits ? [] : [`sees ${active.length} active and ${deleted.length} deleted, not ${JSON.stringify(expected)}`]
}

/** A change that was answered is there; one that was not is there, or nothing of it. */
export async function either(
  world: World,
  person: Caller,
  first: Outcome<unknown>,
  retried: boolean,
  after: Counts,
  before: Counts,
): Promise<string[]> {
  return expectSeen(world, person, after, ...(first.kind === 'answered' || retried ? [] : [before]))
}
