/** One contestant's turn: everything it can do, each operation for a while, after a warm-up of its own. */
import type { Contestant } from './contestants.ts'
import {
  type Bench,
  bareRendition,
  createWorkload,
  type Measured,
  type Operation,
  operations,
  usualConnections,
} from './workload.ts'

export type Visit = { readyMs?: number; measured: Measured[] }

/** Requests at once for what is small, beside the usual 16. */
const OTHER_CONNECTIONS = [1, 64]
const SMALL: Operation[] = ['upload', 'presign', 'complete', 'get', 'list', 'delete']
// With limits on, for what they can change.
const LIMITED: Operation[] = ['upload', 'presign', 'get']
const PHOTOS_PER_SECOND = 4
// Seconds. After one, the first upload still cost a third more than after three.
const LEAST_WARM_UP = 3

export async function visit(contestant: Contestant, bench: Bench & { seconds: number }): Promise<Visit> {
  const { seconds } = bench
  const { prepare, run } = createWorkload(contestant, bench)
  const measured: Measured[] = []
  for (const operation of contestant.name === 'limited' ? LIMITED : operations) {
    const usual = usualConnections(operation)
    const others = SMALL.includes(operation) && contestant.name !== 'limited' ? OTHER_CONNECTIONS : []
    for (const connections of [usual, ...others]) {
      // Short enough that half of the time does; never so short that its code is not compiled yet.
      const half = Math.ceil(seconds / 2)
      for (const [length, counts] of [
        [connections === usual ? Math.max(half, LEAST_WARM_UP) : half, false],
        [connections === usual ? seconds : half, true],
      ] as const) {
        const ready = await prepare(operation, length)
        if (ready === undefined) continue
        const done = await run(operation, { connections, seconds: length, ...ready })
        if (!counts) continue
        measured.push(done)
        console.log(`  ${contestant.name} ${operation}, ${connections} at once: ${inShort(done)}`)
      }
    }
  }
  if (contestant.name === 'floor')
    measured.push(await bareRendition(bench.inputs.photo.file, seconds * PHOTOS_PER_SECOND))
  return { measured, ...(contestant.readyMs !== undefined && { readyMs: contestant.readyMs }) }
}

export function inShort({ cpu, behind, rps, p50, p99, ok, bad, sample }: Measured): string {
  const failed = bad > 0 ? `, ${bad} BAD: ${sample}` : ''
  const others = `database ${behind.database.toFixed(3)}, Redis ${behind.events.toFixed(3)}`
  return `${cpu.toFixed(3)} s/1000 (${others}), ${rps.toFixed(0)}/s, ${p50.toFixed(1)} / ${p99.toFixed(1)} ms, ${ok} requests${failed}`
}
