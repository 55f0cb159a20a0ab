import fc from 'fast-check'
import { residentOf } from '../support/process/process-memory.ts'
import { cpuSecondsOf } from './cpu.ts'
import { exchange, type WireRequest } from './exchange.ts'
import { faultOf } from './verdict.ts'

const CPU_SECONDS = 2
const GROWTH_BYTES = 300_000_000

type Target = { baseUrl: string; pid: number }

/**
 * Sends requests one after the other for so long; each has to get a sound answer at a bounded cost.
 * @returns the number of requests that got each status
 * @throws Error with the smallest request found that does not, and the seed
 */
export async function fuzz(
  target: Target,
  requests: fc.Arbitrary<WireRequest>,
  { seconds, seed }: { seconds: number; seed: number },
): Promise<Record<string, number>> {
  const before = await residentOf(target.pid)
  const counts: Record<string, number> = {}
  const property = fc.asyncProperty(requests, async (request) => {
    const status = await attempt(target, request)
    counts[status] = (counts[status] ?? 0) + 1
  })
  await fc.assert(property, {
    seed,
    numRuns: Number.MAX_SAFE_INTEGER,
    interruptAfterTimeLimit: seconds * 1000,
    markInterruptAsFailure: false,
  })
  const growth = (await residentOf(target.pid)) - before
  if (growth > GROWTH_BYTES) throw new Error(`the service has grown by ${growth} bytes`)
  return counts
}

/**
 * Sends one request and returns its status, or `closed`.
 * @throws Error when the answer is not sound, does not come, or costs too much
 */
export async function attempt({ baseUrl, pid }: Target, request: WireRequest): Promise<string> {
  const before = await cpuSecondsOf(pid)
  const answer = await exchange(baseUrl, request)
  const fault = faultOf(request, answer)
  if (fault !== undefined) throw new Error(fault)
  const cost = (await cpuSecondsOf(pid)) - before
  if (cost > CPU_SECONDS) throw new Error(`it took ${cost} s of CPU`)
  return answer === 'closed' ? answer : String(answer.status)
}
