import { afterAll, expect, test } from 'bun:test'
import { openFuzzStage } from './stage.ts'

// A fixed seed: the same requests each time, and a failure that comes back. `bun run fuzz` looks for new ones.
const RUN = { seconds: 8, seed: 20_261_122 }

const { fuzzRoutes, fuzzLinks, close } = await openFuzzStage()
afterAll(close)

test('every route answers whatever it is sent, and keeps nothing that it has refused', async () => {
  const counts = await fuzzRoutes(RUN)
  // What only ever refuses would pass as well.
  for (const status of ['200', '201', '400', '401', '404', '405', '415']) expect(counts[status]).toBeGreaterThan(0)
}, 120_000)

test('links of the disk store answer whatever comes with them', async () => {
  const counts = await fuzzLinks(RUN)
  for (const status of ['200', '206', '403', '416']) expect(counts[status]).toBeGreaterThan(0)
}, 120_000)
