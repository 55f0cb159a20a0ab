/** `bun run soak [--minutes N] [--seed S] [--runtime bun|deno]`: kills real processes under load for so long. */
import { parseArgs } from 'node:util'
import type { Runtime } from '../acceptance/service.ts'
import { soak, summary } from './soak.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
    runtime: { type: 'string', default: 'bun' },
  },
})
const runtime: Runtime = values.runtime === 'deno' ? 'deno' : 'bun'
const seconds = Number(values.minutes) * 60
const seed = Number(values.seed)
if (!(seconds > 0 && Number.isInteger(seed))) throw new Error('expected --minutes above 0 and a whole --seed')

console.log(`soak: ${values.minutes} minutes on ${runtime}, --seed ${seed}`)
const report = await soak({ seconds, seed, runtimes: [runtime, runtime, runtime] })
for (const fault of report.faults.slice(0, 100)) console.error(fault)
console.log(summary(report))
process.exit(report.faults.length === 0 ? 0 : 1)
