/**
 * `bun bench/ab.ts`: versions of the service beside each other. All of them run at once, each on its own parts, and are
 * measured in turns of a second or two, so that what the machine does otherwise hits all of them alike. What counts is
 * the ratio of CPU time to the first one's in the same round: its median, and in parentheses its quartiles.
 *
 *   --variants base=/a/checkout,new=.   names and folders, each with its packages; `reference` is the reference, and a
 *                                       name that begins with `limited` runs with rate limit and quotas
 *   --ops upload,presign,get,delete     see `workload.ts`
 *   --connections 1,16,64
 *   --rounds 20 --seconds 1 --warm 3    turns of each, and how long one is; before them, the warm-up
 *   --most 1.1                          fail when the median of a ratio is above this
 *
 * Needs Linux and Go.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { createFolder } from '../test/support/services/folder.ts'
import { settingsOf, startServices } from '../test/support/services/services.ts'
import { type Contestant, LIMITS, open, openService } from './contestants.ts'
import { writeInputs } from './inputs.ts'
import { openLoad } from './load.ts'
import { markdown, median } from './report.ts'
import { createWorkload, type Measured, operations } from './workload.ts'

const { values } = parseArgs({
  options: {
    variants: { type: 'string', default: 'ours=.' },
    ops: { type: 'string', default: 'upload,presign,get,delete' },
    connections: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '1' },
    warm: { type: 'string', default: '3' },
    most: { type: 'string', default: 'Infinity' },
  },
})
const chosen = operations.filter((operation) => values.ops.split(',').includes(operation))
const [rounds, seconds, warm] = [Number(values.rounds), Number(values.seconds), Number(values.warm)]

// As in production: what the database has committed is on disk.
const services = await startServices({}, { durable: true })
// For what takes the services from the environment.
Object.assign(process.env, settingsOf(services))
const folder = await createFolder()
const variants: Contestant[] = []
try {
  const bench = { services, load: await openLoad(), inputs: await writeInputs(folder.path), folder: folder.path }
  for (const variant of values.variants.split(',')) {
    const [label = '', checkout = '.'] = variant.split('=')
    if (label === 'reference') variants.push(await open.reference(services, folder.path))
    else {
      const settings = label.startsWith('limited') ? LIMITS : {}
      variants.push(await openService({ label, services, folder: folder.path, checkout: resolve(checkout), settings }))
    }
  }
  const all = variants.map((variant) => ({ variant, ...createWorkload(variant, bench) }))
  for (const operation of chosen) {
    for (const connections of values.connections.split(',').map(Number)) {
      const seen = new Map<string, Measured[]>(variants.map(({ label }) => [label, []]))
      for (let round = 0; round <= rounds; round++) {
        for (const { variant, prepare, run } of round % 2 === 0 ? all : all.toReversed()) {
          // The first turn only warms up.
          const length = round === 0 ? warm : seconds
          const ready = await prepare(operation, length)
          if (ready === undefined) continue
          const done = await run(operation, { connections, seconds: length, ...ready })
          if (round > 0) seen.get(variant.label)?.push(done)
        }
      }
      console.log(`\n${operation}, ${connections} at once, CPU seconds per 1,000:\n\n${tableOf(seen)}`)
    }
  }
} finally {
  for (const variant of variants) await variant.close()
  await folder.remove()
  await services.stop()
}

function tableOf(seen: Map<string, Measured[]>): string {
  const [first = []] = seen.values()
  const taking = [...seen].filter(([, measured]) => measured.length > 0)
  const rows = taking.map(([label, measured]) => {
    const middle = (figure: (one: Measured) => number, digits = 3) => median(measured.map(figure)).toFixed(digits)
    const paired = measured.map(({ cpu }, i) => cpu / (first[i]?.cpu ?? Number.NaN)).sort((a, b) => a - b)
    if (median(paired) > Number(values.most)) process.exitCode = 1
    const quartile = (part: number) => paired[Math.floor((paired.length - 1) * part)]?.toFixed(2)
    return [
      label,
      middle(({ cpu }) => cpu),
      `${median(paired).toFixed(2)} (${quartile(0.25)}–${quartile(0.75)})`,
      middle(({ behind }) => behind.database),
      middle(({ behind }) => behind.events),
      middle(({ behind }) => behind.store),
      middle(({ rps }) => rps, 0),
      `${middle(({ p50 }) => p50, 1)} / ${middle(({ p99 }) => p99, 1)}`,
      String(measured.reduce((sum, { bad }) => sum + bad, 0)),
    ]
  })
  return markdown(['', 'itself', 'ratio', 'Postgres', 'Redis', 'store', 'a second', 'p50 / p99, ms', 'failed'], rows)
}
