/** Interleavings that can be chosen, repeated and shrunk. */
import type { Turn } from './circuit.ts'

/**
 * Lets the calls of several processes to the outside happen one at a time: of those that wait, the numbers choose,
 * over and over again, which comes next.
 */
export async function interleave<T>(order: readonly number[], work: (turn: Turn) => Promise<T>): Promise<T> {
  const waiting: (() => Promise<void>)[] = []
  const turn: Turn = (call) =>
    new Promise((resolve, reject) => {
      waiting.push(() => call().then(resolve, reject))
    })
  let done = false
  const result = work(turn).finally(() => {
    done = true
  })
  for (let choice = 0; !done; ) {
    const index = (order[choice % order.length] ?? 0) % Math.max(1, waiting.length)
    const [next] = waiting.splice(index, 1)
    if (next) {
      choice += 1
      await next()
    }
    // Who has got an answer begins the next call before this is over.
    await new Promise(setImmediate)
  }
  return result
}
