/**
 * Several processes that are asked for the same objects at the same time, each in an order of its own, and each of them
 * several times: their calls to the database go together, and still one wins.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import type { Caller } from '../../src/auth/caller.ts'
import { Problem } from '../../src/problem.ts'
import { audit } from './audit.ts'
import { byOneProcess, type Outcome, passOver, type Replica, soundly, startReplica } from './replica.ts'
import { declared, fileOf, png } from './trials.ts'
import { PENDING_SECONDS, type World, worlds } from './world.ts'

const OBJECTS = 6
const PROCESSES = 2
const ORDERS = Number(process.env.PROMISES_ORDERS ?? 3)
const seed = Number(process.env.PROMISES_SEED ?? Math.floor(Math.random() * 2 ** 31))
const stranger: Caller = { userId: crypto.randomUUID(), role: 'user' }

// Long enough to shrink what failed.
setDefaultTimeout(60_000)

type Ask = (media: Replica['media'], id: string) => Promise<unknown>

for (const { name, present, open } of worlds) {
  describe.skipIf(!present)(`asked for together, ${name}`, () => {
    let world: World
    const person: Caller = { userId: crypto.randomUUID(), role: 'user' }
    beforeAll(async () => {
      world = await open()
    }, 60_000)
    afterAll(async () => {
      console.log(`together (${name}, seed ${seed}): ${JSON.stringify(world.batches.counts())}`)
      await world.close()
    }, 60_000)

    /** Each process is asked all of this for each object; `check` gets the answers for one object, of all processes. */
    async function inAnyOrder(
      prepare: () => Promise<string[]>,
      asks: Ask[],
      check: (answers: string[], channels: string[]) => void,
    ): Promise<void> {
      const order = fc.shuffledSubarray([...Array(OBJECTS).keys()], { minLength: OBJECTS })
      const property = fc.asyncProperty(
        fc.array(order, { minLength: PROCESSES, maxLength: PROCESSES }),
        async (orders) => {
          await world.clear()
          const ids = await prepare()
          const told = await Promise.all(
            orders.map(async (places) => {
              const asked = places.flatMap((place) => asks.map((ask) => ({ id: ids[place] ?? '', ask })))
              const works = asked.map(
                ({ id, ask }) =>
                  ({ media }: Replica) =>
                    ask(media, id),
              )
              const outcomes = await byOneProcess(startReplica(world), works)
              return asked.map(({ id }, i) => ({ id, answer: answerOf(outcomes[i]) }))
            }),
          )
          await world.clock.advance(PENDING_SECONDS + 1)
          expect([...(await passOver(world)), ...(await audit(world))]).toEqual([])
          const events = await world.delivered()
          for (const id of ids) {
            const answers = told.flat().filter((one) => one.id === id)
            const channels = new Map(events.get(id)?.map(({ channel, payload }) => [payload.eventId, channel])).values()
            check(answers.map(({ answer }) => answer).toSorted(), [...channels])
          }
        },
      )
      await fc.assert(property, { seed, numRuns: ORDERS })
    }

    const objects = () =>
      soundly(world, ({ media }) =>
        Promise.all(
          Array.from({ length: OBJECTS }, async () => (await media.uploads.direct(person, fileOf(undefined))).id),
        ),
      )
    const arrived = async () => {
      const links = await soundly(world, ({ media }) =>
        Promise.all(
          Array.from({ length: OBJECTS }, () =>
            media.uploads.presign(person, { ...declared(undefined), size: png.length }),
          ),
        ),
      )
      await Promise.all(links.map((link) => world.put(link, png)))
      return links.map(({ id }) => id)
    }
    const remove: Ask = (media, id) => media.objects.remove(id, person)
    const complete: Ask = (media, id) => media.uploads.complete(id, person)

    test('one delete of an object succeeds among several, and never a stranger’s', async () => {
      await inAnyOrder(
        objects,
        [remove, remove, (media, id) => media.objects.remove(id, stranger)],
        (answers, channels) => {
          expect(answers).toEqual([...Array(5).fill('not_found'), 'ok'])
          expect(channels).toEqual(['photo:uploaded', 'photo:deleted'])
        },
      )
      expect(world.batches.counts().remove?.statements).toBeGreaterThan(0)
    })

    test('all completes of an object are answered with it, and one is announced', async () => {
      await inAnyOrder(arrived, [complete, complete], (answers, channels) => {
        expect(answers).toEqual(['ok', 'ok', 'ok', 'ok'])
        expect(channels).toEqual(['photo:uploaded'])
      })
      expect(world.batches.counts().activate?.statements).toBeGreaterThan(0)
    })

    test('completes, deletes and restores at the same time: each change is announced, in its order', async () => {
      const restore: Ask = (media, id) => media.objects.restore(id, person)
      await inAnyOrder(arrived, [complete, remove, restore], (answers, channels) => {
        const changes = answers.filter((answer) => answer === 'ok').length
        // The second complete may have found what the first one made.
        expect(channels[0]).toBe('photo:uploaded')
        expect(channels.length).toBeLessThanOrEqual(changes)
        for (const [i, channel] of channels.slice(1).entries())
          expect(channel).toBe(i % 2 === 0 ? 'photo:deleted' : 'photo:restored')
      })
    })
  })
}

function answerOf(outcome: Outcome<unknown> | undefined): string {
  if (outcome?.kind === 'answered') return 'ok'
  if (outcome?.kind === 'refused' && outcome.error instanceof Problem) return outcome.error.code
  throw outcome?.kind === 'refused' ? outcome.error : new Error('a process without a fault has hung')
}
