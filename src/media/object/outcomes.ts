/** What a row remembers of decoding its picture, and what a caller is told of it. Pure. */
import { Problem, type ProblemCode } from '../../problem.ts'

/** After so many tries that were too dear, a task is refused until the limits or the decoders change. */
export const MOST_DEAR_TRIES = 3

/**
 * Why a task gave nothing. `source`: the key of the bytes that it was tried with. `until`: Unix seconds; before, it is not
 * tried again. With `MOST_DEAR_TRIES` it is not tried again at all by these decoders. `sizeBytes`: of what was made and did
 * not fit into the owner's quota.
 */
export type Outcome = { source: string; code: ProblemCode; tries: number; until: number; sizeBytes?: number }

/** By task: a rendition's name, or one of these. */
export type Outcomes = Record<string, Outcome>
/** The picture as a whole. */
export const WHOLE = '*'
/** All renditions: they are made of whole files only, where a copy or a placeholder takes a torn one. */
export const ALL_RENDITIONS = 'renditions'
/** A rendition that did not fit into what strangers may have made. */
export const forStrangers = (name: string) => `strangers ${name}`
/** A rendition that did not fit into the owner's quota: it is made again when there is room for as many bytes. */
export const forOwner = (name: string) => `owner ${name}`

/** What a row says of its picture at a time of the database, in Unix seconds. */
export type Remembered = { key: string; outcomes: Outcomes; now: number }

/**
 * Why a task is not begun now; undefined where nothing speaks against it. A picture is too dear as a whole when its
 * cheapest task was, the placeholder, which encodes nothing.
 */
export function refusalOf(row: Remembered, task: string, group: string = task): Problem | undefined {
  const found = [WHOLE, 'placeholder', group, task].map((name) => outcomeOf(row, name))
  const final = found.find((outcome) => outcome !== undefined && outcome.tries >= MOST_DEAR_TRIES)
  if (final !== undefined) return refused(final.code)
  const last = found.at(-1)
  return last !== undefined && last.until > row.now ? tryLater(last.until - row.now) : undefined
}

/** The outcome of a task with the bytes that the picture has now. */
export function outcomeOf({ key, outcomes }: Remembered, task: string): Outcome | undefined {
  const outcome = outcomes[task]
  return outcome?.source === key ? outcome : undefined
}

/** Whether a failure is the picture's own, so that the outcome is on its row. */
export function isRefusal({ code }: Problem): boolean {
  return code === 'image_unreadable' || code === 'image_too_large'
}

function refused(code: ProblemCode): Problem {
  const detail =
    code === 'image_unreadable' ? 'The picture cannot be decoded.' : 'The picture is too large to be decoded.'
  return new Problem(code, detail)
}

function tryLater(seconds: number): Problem {
  return new Problem('overloaded', 'Decoding this picture took more than it may. It is tried again later.', {
    retryAfterSeconds: Math.ceil(seconds),
  })
}
