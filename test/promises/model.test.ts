/**
 * Random sequences and interleavings of what several people do, with processes that die, calls that fail, a bus that
 * is down and links that are used late, against a simple model of what must be visible. PROMISES_SEED repeats a run
 * and PROMISES_SEQUENCES changes how many are played.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { play } from './playing.ts'
import { type Step, sequences } from './sequences.ts'
import { type World, worlds } from './world.ts'

const seed = Number(process.env.PROMISES_SEED ?? Math.floor(Math.random() * 2 ** 31))
const counts: Record<string, number> = { embedded: 50, real: 25 }

for (const { name, present, open } of worlds) {
  describe.skipIf(!present)(`a model of the service, ${name}`, () => {
    const numRuns = Number(process.env.PROMISES_SEQUENCES ?? counts[name])
    let world: World
    let played = 0
    let steps = 0
    let held = false
    beforeAll(async () => {
      world = await open()
    }, 60_000)
    afterAll(async () => {
      await world.close()
      console.log(
        `model: ${played} sequences of ${steps} steps tried (${name}, seed ${seed}), ${held ? 'none lost' : 'NOT ALL HELD'}; went together: ${JSON.stringify(world.batches.counts())}`,
      )
    }, 60_000)

    test('everyone sees what they must and nothing else is left, whatever is done in whatever order', async () => {
      const property = fc.asyncProperty(sequences, async (sequence: Step[]) => {
        await play(world, sequence)
        played += 1
        steps += sequence.length
      })
      await fc.assert(property, { seed, numRuns })
      expect(played).toBe(numRuns)
      const together = Object.values(world.batches.counts()).reduce((sum, { statements }) => sum + statements, 0)
      expect(together).toBeGreaterThan(numRuns / 4)
      held = true
    }, 300_000)
  })
}
