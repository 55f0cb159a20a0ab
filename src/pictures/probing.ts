/** Bounds on what strangers' pictures may cost: how many are read at once, and for how long one may keep a client waiting. */
import pLimit from 'p-limit'
import { Problem } from '../problem.ts'

export type Probing = <T>(read: () => Promise<T>) => Promise<T>

/**
 * Runs up to `concurrency` at once, the rest in order. What is not done after `deadlineMs` is given up: it throws Problem
 * `image_unreadable`, because a picture's header is read in less than a millisecond; or `overloaded` when it was never
 * begun, because that was the fault of others. libvips can't be interrupted, so its place stays taken until it is done.
 */
export function createProbing({ concurrency, deadlineMs }: { concurrency: number; deadlineMs: number }): Probing {
  const places = pLimit(concurrency)

  return async function probe(read) {
    let begun = false
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(begun ? tooSlow() : overloaded()), deadlineMs)
    })
    const done = places(() => {
      begun = true
      return read()
    })
    return Promise.race([done, late]).finally(() => clearTimeout(timer))
  }
}

function tooSlow(): Problem {
  return new Problem('image_unreadable', 'Reading the picture takes too long.')
}

function overloaded(): Problem {
  return new Problem('overloaded', 'Too many pictures are being read. Try again.')
}
