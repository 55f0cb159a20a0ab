/** Outcomes of decoding a picture, as its row stores them, and the problems they cause. Pure. */
import { Problem, type ProblemCode } from '../../problem.ts'

/** After this many tries that exceeded a limit, a task is refused until the limits or the decoders change. */
export const MOST_DEAR_TRIES = 3

/**
 * Why a task failed. `source`: the key of the bytes that were decoded. `until`: Unix seconds; no retry before. After
 * `MOST_DEAR_TRIES` tries these decoders never retry. `sizeBytes`: the size of a rendition that did not fit into the
 * owner's quota.
 */
export type Outcome = { source: string; code: ProblemCode; tries: number; until: number; sizeBytes?: number }

/** Outcomes by task: a rendition's name, or one of the names below. */
export type Outcomes = Record<string, Outcome>
/** The picture as a whole. */
export const WHOLE = '*'
/**
 * All renditions: they require a complete file, whereas a public copy or a placeholder can be made from a truncated
 * one.
 */
export const ALL_RENDITIONS = 'renditions'
/** A rendition that exceeded the bytes which non-owners may cause to be stored. */
export const forNonOwners = (name: string) => `strangers ${name}`
/** A rendition that exceeded the owner's quota: it is made again when there is room for as many bytes. */
export const forOwner = (name: string) => `owner ${name}`

/** The outcomes on a row, at a time of the database, in Unix seconds. */
export type Remembered = { key: string; outcomes: Outcomes; now: number }

/**
 * Why a task must not begin now; undefined if it may. A picture is too expensive as a whole if its cheapest task was:
 * the placeholder, which encodes nothing.
 */
export function refusalOf(row: Remembered, task: string, group: string = task): Problem | undefined {
  const found = [WHOLE, 'placeholder', group, task].map((name) => outcomeOf(row, name))
  const final = found.find((outcome) => outcome !== undefined && outcome.tries >= MOST_DEAR_TRIES)
  if (final !== undefined) return refused(final.code)
  const last = found.at(-1)
  return last !== undefined && last.until > row.now ? tryLater(last.until - row.now) : undefined
}

/** The outcome of a task, if it was tried with the bytes that the picture has now. */
export function outcomeOf({ key, outcomes }: Remembered, task: string): Outcome | undefined {
  const outcome = outcomes[task]
  return outcome?.source === key ? outcome : undefined
}

/** Whether the picture itself caused the failure, so that its row has the outcome. */
export function isRefusal({ code }: Problem): boolean {
  return code === 'image_unreadable' || code === 'image_too_large'
}

function refused(code: ProblemCode): Problem {
  const detail =
    code === 'image_unreadable'
      ? 'The picture cannot be decoded.'
      : 'The picture, or this rendition of it, is too large.'
  return new Problem(code, detail)
}

function tryLater(seconds: number): Problem {
  return new Problem('overloaded', 'Decoding this picture took more than it may. It is tried again later.', {
    retryAfterSeconds: Math.ceil(seconds),
  })
}
