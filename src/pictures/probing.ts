/** Limits on probing untrusted pictures: how many are read at once, and how long a client waits for one. */
import pLimit from 'p-limit'
import { inTime } from '../deadline.ts'
import { Problem } from '../problem.ts'

export type Probing = <T>(read: () => Promise<T>) => Promise<T>

/**
 * Runs up to `concurrency` probes at once, the rest in order. A probe that misses `deadlineMs` fails with Problem
 * `overloaded`, not `image_unreadable`: threads, CPU and memory are shared, so its time says nothing about the bytes.
 * libvips cannot be interrupted, so the probe keeps its slot until it has ended.
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
  return new Problem('overloaded', 'The service is too busy to read the picture now. Try again.')
}
