/** A budget of bytes that many callers share: first come, first served, and no caller starves the others. */
import { Problem } from './problem.ts'

export type Budget = {
  /**
   * Waits in order until there is room; the result releases it. A request for more than the whole budget is admitted
   * alone. Throws Problem `overloaded` after half a minute, or the reason of the signal.
   * @param caller gets at most half of the budget while other callers wait
   * @param signalOf called only if the caller has to wait: making a request's signal has a price
   */
  reserve(caller: string, bytes: number, signalOf?: () => AbortSignal): Promise<() => void>
  /** Whether a caller is waiting, so that slow bodies must not keep their room. */
  contended(): boolean
  /** Bytes reserved now, and how many callers wait. */
  usage(): { reserved: number; waiting: number }
}

const LONGEST_WAIT_MS = 30_000

type Waiting = { caller: string; bytes: number; admit: () => void }

/** @param limit in bytes */
export function createBudget(limit: number): Budget {
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

  /** First come, first served; a caller over half the budget does not block those behind it. */
  function admitNext(): void {
    for (const next of queue) {
      if (reserved > 0 && reserved + next.bytes > limit) return
      const own = held.get(next.caller) ?? 0
      if (own > 0 && own + next.bytes > limit / 2 && queue.some(({ caller }) => caller !== next.caller)) continue
      queue = queue.filter((waiting) => waiting !== next)
      take(next)
      next.admit()
    }
  }

  return {
    async reserve(caller, bytes, signalOf) {
      let late: ReturnType<typeof setTimeout> | undefined
      let signal: AbortSignal | undefined
      let aborted = () => {}
      const place: Waiting = { caller, bytes, admit: () => {} }
      await new Promise<void>((resolve, reject) => {
        place.admit = resolve
        queue.push(place)
        admitNext()
        if (!queue.includes(place)) return
        signal = signalOf?.()
        const leave = (reason: unknown) => {
          queue = queue.filter((waiting) => waiting !== place)
          admitNext()
          reject(reason)
        }
        aborted = () => leave(signal?.reason)
        signal?.addEventListener('abort', aborted)
        if (signal?.aborted) aborted()
        late = setTimeout(() => leave(tooMany()), LONGEST_WAIT_MS)
      }).finally(() => {
        clearTimeout(late)
        signal?.removeEventListener('abort', aborted)
      })
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

function tooMany(): Problem {
  return new Problem('overloaded', 'Too many uploads are under way. Try again.')
}
