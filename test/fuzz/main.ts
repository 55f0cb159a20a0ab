/** `bun run fuzz [--minutes N] [--seed S]`: hostile requests for so long; ACCEPTANCE_RUNTIME=deno tries Deno. */
import { parseArgs } from 'node:util'
import { endWhatIsShared } from '../support/services/shared.ts'
import { openFuzzStage } from './stage.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
  },
})
const seconds = Number(values.minutes) * 60
const seed = Number(values.seed)
if (!(seconds > 0 && Number.isInteger(seed))) throw new Error('expected --minutes above 0 and a whole --seed')

console.log(`fuzz: ${values.minutes} minutes, --seed ${seed}`)
const { fuzzRoutes, fuzzLinks, close } = await openFuzzStage()
try {
  // Most of the time for what most of the code is for.
  console.log('routes', await fuzzRoutes({ seconds: seconds * 0.8, seed }))
  console.log('links', await fuzzLinks({ seconds: seconds * 0.2, seed }))
} catch (error) {
  console.error(error)
  process.exitCode = 1
} finally {
  await close().catch((error) => {
    console.error(error)
    process.exitCode = 1
  })
  await endWhatIsShared()
}
