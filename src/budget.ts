/** A budget of bytes that many callers share: first come, first served, and no caller starves the others. */
import { Problem } from './problem.ts'

export type Budget = {
  /**
   * Waits in order until there is room; the result releases it. A request for more than the whole budget is admitted
   * alone.
   * @param caller gets at most half of the budget while other callers wait
   * @param signalOf called only if the caller has to wait: making a request's signal has a price
   * @throws Problem `overloaded` after half a minute, or the reason of the signal
   */
  reserve(caller: string, bytes: number, signalOf?: () => AbortSignal): Promise<() => void>
  /** Whether a caller is waiting, so that slow bodies must not keep their room. */
  contended(): boolean
  /** Bytes reserved now, and how many callers wait. */
  usage(): { reserved: number; waiting: number }
}

const LONGEST_WAIT_MS = 30_000

type Waiting = { caller: string; bytes: number; admit: () => void }

/** Bytes; `held`: by caller. */
type Ledger = { readonly limit: number; reserved: number; held: Map<string, number>; queue: Waiting[] }

/** @param limit in bytes */
export function createBudget(limit: number): Budget {
  const ledger: Ledger = { limit, reserved: 0, held: new Map(), queue: [] }
  return {
    reserve: (caller, bytes, signalOf) => reserve(ledger, { caller, bytes, admit() {} }, signalOf),
    contended: () => ledger.queue.length > 0,
    usage: () => ({ reserved: ledger.reserved, waiting: ledger.queue.length }),
  }
}

async function reserve(ledger: Ledger, place: Waiting, signalOf?: () => AbortSignal): Promise<() => void> {
  let late: ReturnType<typeof setTimeout> | undefined
  let signal: AbortSignal | undefined
  let aborted = () => {}
  await new Promise<void>((resolve, reject) => {
    place.admit = resolve
    ledger.queue.push(place)
    admitNext(ledger)
    if (!ledger.queue.includes(place)) return
    signal = signalOf?.()
    const leave = (reason: unknown) => {
      ledger.queue = ledger.queue.filter((waiting) => waiting !== place)
      admitNext(ledger)
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
  return function release() {
    if (released) return
    released = true
    giveBack(ledger, place)
  }
}

/** First come, first served; a caller over half the budget does not block those behind it. */
function admitNext(ledger: Ledger): void {
  const { limit, held } = ledger
  for (const next of ledger.queue) {
    if (ledger.reserved > 0 && ledger.reserved + next.bytes > limit) return
    const own = held.get(next.caller) ?? 0
    if (own > 0 && own + next.bytes > limit / 2 && ledger.queue.some(({ caller }) => caller !== next.caller)) continue
    ledger.queue = ledger.queue.filter((waiting) => waiting !== next)
    take(ledger, next)
    next.admit()
  }
}

function take(ledger: Ledger, { caller, bytes }: Waiting): void {
  ledger.reserved += bytes
  ledger.held.set(caller, (ledger.held.get(caller) ?? 0) + bytes)
}

function giveBack(ledger: Ledger, { caller, bytes }: Waiting): void {
  ledger.reserved -= bytes
  const rest = (ledger.held.get(caller) ?? 0) - bytes
  if (rest > 0) ledger.held.set(caller, rest)
  else ledger.held.delete(caller)
  admitNext(ledger)
}

function tooMany(): Problem {
  return new Problem('overloaded', 'Too many uploads are under way. Try again.')
}
