/** How much of the bodies of direct uploads may be in memory at once: reserved before they are read. */
import { Problem } from '../problem.ts'

export type UploadMemory = {
  /**
   * Waits in order until there is room for a body; the result gives it back. One larger than the whole budget is let
   * in alone. Throws Problem `overloaded` after half a minute.
   * @param caller who asks: nobody gets more than half of the budget while others could use it
   * @param bytes of the body, as announced, or the most it may have
   */
  reserve(caller: string, bytes: number): Promise<() => void>
  /** Whether someone is waiting, so that slow bodies must not hold their place. */
  contended(): boolean
  /** Bytes reserved now, and how many bodies wait. */
  usage(): { reserved: number; waiting: number }
}

// What a body occupies while it is held: itself, the pieces it came in until they are collected, and, of a small one, a
// copy on its way to the store. Measured as the growth of the resident set over uploads at once, on Bun 1.4.5.
const BYTES_PER_BYTE = 2.5
const LONGEST_WAIT_MS = 30_000

type Waiting = { caller: string; bytes: number; admit: () => void }

/** @param budget in bytes */
export function createUploadMemory(budget: number): UploadMemory {
  const held = new Map<string, number>()
  let reserved = 0
  let queue: Waiting[] = []

  function take({ caller, bytes }: Waiting): void {
    reserved += bytes
    held.set(caller, (held.get(caller) ?? 0) + bytes)
  }

  function giveBack({ caller, bytes }: Waiting): void {
    reserved -= bytes
    const rest = (held.get(caller) ?? 0) - bytes
    if (rest > 0) held.set(caller, rest)
    else held.delete(caller)
    admitNext()
  }

  /** In order; but who waits only for what they hold themselves keeps nobody else waiting. */
  function admitNext(): void {
    for (const next of queue) {
      if (reserved > 0 && reserved + next.bytes > budget) return
      const own = held.get(next.caller) ?? 0
      if (own > 0 && own + next.bytes > budget / 2 && queue.some(({ caller }) => caller !== next.caller)) continue
      queue = queue.filter((waiting) => waiting !== next)
      take(next)
      next.admit()
    }
  }

  return {
    async reserve(caller, bytes) {
      let late: ReturnType<typeof setTimeout> | undefined
      const place: Waiting = { caller, bytes: bytes * BYTES_PER_BYTE, admit: () => {} }
      await new Promise<void>((resolve, reject) => {
        place.admit = resolve
        queue.push(place)
        admitNext()
        if (!queue.includes(place)) return
        late = setTimeout(() => {
          queue = queue.filter((waiting) => waiting !== place)
          admitNext()
          reject(new Problem('overloaded', 'Too many uploads are under way. Try again.'))
        }, LONGEST_WAIT_MS)
      }).finally(() => clearTimeout(late))
      let released = false
      return () => {
        if (released) return
        released = true
        giveBack(place)
      }
    },
    contended: () => queue.length > 0,
    usage: () => ({ reserved, waiting: queue.length }),
  }
}
