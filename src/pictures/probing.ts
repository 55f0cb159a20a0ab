/** Bounds on what strangers' pictures may cost: how many are read at once, and for how long one may keep a client waiting. */
import pLimit from 'p-limit'
import { inTime } from '../deadline.ts'
import { Problem } from '../problem.ts'

export type Probing = <T>(read: () => Promise<T>) => Promise<T>

/**
 * Runs up to `concurrency` at once, the rest in order. What is not done after `deadlineMs` is given up with Problem
 * `overloaded`: time says nothing about the bytes, because threads, processor and memory are shared with others. libvips
 * can't be interrupted, so its place stays taken until it is done.
 */
export function createProbing({ concurrency, deadlineMs }: { concurrency: number; deadlineMs: number }): Probing {
  const places = pLimit(concurrency)

  return async function probe(read) {
    let givenUp = false
    const done = places(() => (givenUp ? Promise.reject(overloaded()) : read()))
    return inTime(done, deadlineMs, () => {
      givenUp = true
      throw overloaded()
    })
  }
}

function overloaded(): Problem {
  return new Problem('overloaded', 'Reading the picture takes too long now. Try again.')
}
