/** Counts that come in one turn of the event loop are sent together: a command costs more than what it carries. */
import { setImmediate } from 'node:timers'

/** Where a key stands with one request: which of its window it is, and the milliseconds until the window ends. */
export type Standing = { place: number; msLeft: number }

/** Adds so many requests to each key; answers in the same order, each with the place of the key's last request. */
export type SendCounts = (counts: ReadonlyMap<string, number>) => Promise<Standing[]>

type Waiting = { resolve: (standing: Standing) => void; reject: (error: unknown) => void }

/** Keys in one command: its script stops everything else that Redis does. */
const MOST_KEYS = 64

/**
 * Each call has its own answer, as if it had been sent alone: those of one key take its places in the order in which they
 * came. When the command fails, so do all of its calls.
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
    // Has no effect on those that are answered.
    for (const { reject } of all.flat()) reject(error)
  }
}
