/**
 * `bun run soak [--minutes N] [--seed S] [--runtime bun|deno]`: kills real processes under load for so long.
 * `bun run soak --requests N`: sends so many to one process that lives, and shows what it holds after the first tenth and
 * at the end.
 */
import { parseArgs } from 'node:util'
import type { Runtime } from '../support/process/service.ts'
import { summary as enduranceSummary, endure } from './endurance.ts'
import { soak, summary } from './soak.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
    runtime: { type: 'string', default: 'bun' },
    requests: { type: 'string' },
  },
})
if (values.requests !== undefined) {
  const requests = Number(values.requests)
  if (!(requests >= 1000)) throw new Error('expected --requests of 1000 at least')
  const endurance = await endure({ requests, warmUp: requests / 10 })
  for (const fault of endurance.faults.slice(0, 100)) console.error(fault)
  console.log(enduranceSummary(endurance))
  process.exit(endurance.faults.length === 0 ? 0 : 1)
}

const runtime: Runtime = values.runtime === 'deno' ? 'deno' : 'bun'
const seconds = Number(values.minutes) * 60
const seed = Number(values.seed)
if (!(seconds > 0 && Number.isInteger(seed))) throw new Error('expected --minutes above 0 and a whole --seed')

console.log(`soak: ${values.minutes} minutes on ${runtime}, --seed ${seed}`)
const report = await soak({ seconds, seed, runtimes: [runtime, runtime, runtime] })
for (const fault of report.faults.slice(0, 100)) console.error(fault)
console.log(summary(report))
process.exit(report.faults.length === 0 ? 0 : 1)
