/** Batches the counts of one turn of the event loop: a command to Redis costs more than its payload. */
import { setImmediate } from 'node:timers'

/** A request within its key's window: its position, from 1, and the milliseconds until the window ends. */
export type Standing = { place: number; msLeft: number }

/** Adds these numbers of requests to their keys; each answer, in the same order, is about the key's last request. */
export type SendCounts = (counts: ReadonlyMap<string, number>) => Promise<Standing[]>

type Waiting = { resolve: (standing: Standing) => void; reject: (error: unknown) => void }

/** Most keys in one command: Redis does nothing else while the script runs. */
export const MOST_KEYS = 64

/**
 * Each call gets its own answer, as if it had been sent alone: calls with the same key get ascending positions in the
 * order of the calls. When the command fails, all of its calls fail.
 */
export function gatherCounts(send: SendCounts): (key: string) => Promise<Standing> {
  let gathered: Map<string, Waiting[]> | undefined

  return function count(key) {
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject }
      const sameKey = gathered?.get(key)
      if (sameKey !== undefined) return void sameKey.push(waiting)
      if (gathered === undefined || gathered.size === MOST_KEYS) {
        const batch = new Map<string, Waiting[]>()
        gathered = batch
        setImmediate(() => {
          if (gathered === batch) gathered = undefined
          void sendBatch(send, batch)
        })
      }
      gathered.set(key, [waiting])
    })
  }
}

async function sendBatch(send: SendCounts, batch: ReadonlyMap<string, Waiting[]>): Promise<void> {
  const counts = new Map([...batch].map(([key, { length }]) => [key, length]))
  const all = [...batch.values()]
  try {
    const standings = await send(counts)
    for (const [i, calls] of all.entries()) {
      const last = standings[i]
      if (last === undefined) throw new Error('limits: a key without an answer')
      const before = last.place - calls.length
      for (const [j, { resolve }] of calls.entries()) resolve({ place: before + j + 1, msLeft: last.msLeft })
    }
  } catch (error) {
    // Has no effect on calls that were answered.
    for (const { reject } of all.flat()) reject(error)
  }
}
