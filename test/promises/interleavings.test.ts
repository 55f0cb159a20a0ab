/**
 * Several calls on one object at the same instant, their calls to database, store and bus one after the other in
 * random orders: one wins, the rest are told so, and the events say what happened.
 */

import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import type { Caller } from '../../src/auth/caller.ts'
import { Problem } from '../../src/problem.ts'
import { audit } from './audit.ts'
import type { Turn } from './circuit.ts'
import { pdf, picture } from './pictures.ts'
import { attempt, type Outcome, passOver, type Replica, soundly, startReplica } from './replica.ts'
import { interleave } from './turns.ts'
import { AUTO_COMPLETE_SECONDS, PENDING_SECONDS, RETENTION_SECONDS, type World, worlds } from './world.ts'

const gif = picture('image/gif', 300)
const png = picture('image/png', 400)
const seed = Number(process.env.PROMISES_SEED ?? Math.floor(Math.random() * 2 ** 31))
const ORDERS = Number(process.env.PROMISES_ORDERS ?? 6)

// Long enough to shrink what failed.
setDefaultTimeout(60_000)

/** What the world itself does in between, when it is its turn. */
type Meanwhile = (turn: Turn) => Promise<unknown>
type Work = (replica: Replica) => Promise<unknown>

for (const { name, present, open } of worlds) {
  describe.skipIf(!present)(`calls at the same instant, ${name}`, () => {
    let world: World
    let tried = 0
    const person: Caller = { userId: crypto.randomUUID(), role: 'user' }
    beforeAll(async () => {
      world = await open()
    }, 60_000)
    afterEach(() => world.clear())
    afterAll(async () => {
      await world.close()
      console.log(`interleavings: ${tried} tried (${name}, seed ${seed})`)
    }, 60_000)

    /** In many orders, each on an object of its own; ends with everything healed and looked through. */
    async function inAnyOrder(
      prepare: () => Promise<string>,
      works: (id: string) => Work[],
      check: (answers: string[], id: string) => void | Promise<void>,
      meanwhile: Meanwhile = async () => {},
    ): Promise<void> {
      const property = fc.asyncProperty(fc.array(fc.nat(5), { minLength: 12, maxLength: 24 }), async (order) => {
        await world.clear()
        const id = await prepare()
        const answers = await interleave(order, async (turn) => {
          const attempts = works(id).map((work) => attempt(startReplica(world, { turn }), work))
          const [outcomes] = await Promise.all([Promise.all(attempts), meanwhile(turn)])
          return outcomes.map(answerOf)
        })
        await check(answers, id)
        await world.clock.advance(PENDING_SECONDS + 1)
        expect([...(await passOver(world)), ...(await audit(world))]).toEqual([])
        tried += 1
      })
      await fc.assert(property, { seed, numRuns: ORDERS })
    }

    const upload = async (idempotencyKey?: string) => {
      const file = { name: 'a.gif', bytes: gif, visibility: 'private', idempotencyKey } as const
      return (await soundly(world, ({ media }) => media.uploads.direct(person, file))).id
    }
    const link = async () => {
      const unbound = { size: undefined, sha256: undefined, idempotencyKey: undefined }
      const declared = { filename: 'a.png', fileType: 'image/png', visibility: 'private', ...unbound } as const
      return soundly(world, ({ media }) => media.uploads.presign(person, declared))
    }
    const arrived = async () => {
      const made = await link()
      await world.put(made, png)
      return made.id
    }
    const deleted = async () => {
      const id = await upload()
      await soundly(world, ({ media }) => media.objects.remove(id, person))
      return id
    }
    const remove =
      (id: string): Work =>
      ({ media }) =>
        media.objects.remove(id, person)
    const complete =
      (id: string): Work =>
      ({ media }) =>
        media.uploads.complete(id, person)
    const restore =
      (id: string): Work =>
      ({ media }) =>
        media.objects.restore(id, person)
    const hide =
      (id: string): Work =>
      ({ media }) =>
        media.objects.update(id, person, { visibility: 'private' })
    const upkeep: Work = ({ upkeep }) => upkeep.run()
    const channels = async (id: string): Promise<string[]> => [
      ...new Map((await world.delivered()).get(id)?.map(({ channel, payload }) => [payload.eventId, channel])).values(),
    ]

    test('one of several deletes succeeds, the others are 404, and one event is sent', async () => {
      await inAnyOrder(
        upload,
        (id) => [remove(id), remove(id), remove(id)],
        async (answers, id) => {
          expect(answers.toSorted()).toEqual(['not_found', 'not_found', 'ok'])
          expect(await channels(id)).toEqual(['photo:uploaded', 'photo:deleted'])
        },
      )
    })

    test('several completes get the same answer, and one event tells of it', async () => {
      await inAnyOrder(
        arrived,
        (id) => [complete(id), complete(id), complete(id)],
        async (answers, id) => {
          expect(answers).toEqual(['ok', 'ok', 'ok'])
          expect(await channels(id)).toEqual(['photo:uploaded'])
        },
      )
    })

    test('a delete and two completes: a complete after the delete is 404', async () => {
      await inAnyOrder(
        arrived,
        (id) => [complete(id), complete(id), remove(id)],
        async (answers, id) => {
          const gone = answers[2]
          expect(answers.slice(0, 2)).toContain('ok')
          expect(gone === 'ok' || gone === 'not_found').toBe(true)
          expect(await channels(id)).toEqual(['photo:uploaded', ...(gone === 'ok' ? ['photo:deleted'] : [])])
        },
      )
    })

    test('a complete and two upkeeps, when the time for it is over: one completes it, with one event', async () => {
      const expired = async () => {
        const id = await arrived()
        await world.clock.advance(PENDING_SECONDS + 1)
        return id
      }
      await inAnyOrder(
        expired,
        (id) => [complete(id), upkeep, upkeep],
        async (answers, id) => {
          expect(answers).toEqual(['ok', 'ok', 'ok'])
          expect(await channels(id)).toEqual(['photo:uploaded'])
        },
      )
    })

    test('a cancellation and two upkeeps, when the bytes are there: it is an object, or gone with them for good', async () => {
      const abort =
        (id: string): Work =>
        ({ media }) =>
          media.uploads.abort(id, person)
      const due = async () => {
        const id = await arrived()
        await world.clock.advance(AUTO_COMPLETE_SECONDS)
        return id
      }
      await inAnyOrder(
        due,
        (id) => [abort(id), upkeep, upkeep],
        async ([answer = ''], id) => {
          expect(['ok', 'state_conflict']).toContain(answer)
          expect(await channels(id)).toEqual(answer === 'ok' ? [] : ['photo:uploaded'])
        },
      )
    })

    test('a claim and two upkeeps around the end of the hold: it stays, or is in the bin with one event', async () => {
      const HOLD_SECONDS = 600
      const almost = async () => {
        const file = { name: 'a.gif', type: '', bytes: gif, visibility: 'private', idempotencyKey: undefined } as const
        const held = { ...file, holdSeconds: HOLD_SECONDS }
        const { id } = await soundly(world, ({ media }) => media.uploads.direct(person, held))
        await world.clock.advance(HOLD_SECONDS - 30)
        return id
      }
      await inAnyOrder(
        almost,
        (id) => [({ media }) => media.objects.claim([id], person.userId), upkeep, upkeep],
        async ([answer = ''], id) => {
          expect(['ok', 'state_conflict']).toContain(answer)
          expect(await channels(id)).toEqual(['photo:uploaded', ...(answer === 'ok' ? [] : ['photo:deleted'])])
        },
        (turn) => turn(() => world.clock.advance(60)),
      )
    })

    test('a restore and two upkeeps around the end of the retention time: it is back with its bytes, or gone', async () => {
      const almost = async () => {
        const id = await deleted()
        await world.clock.advance(RETENTION_SECONDS - 60)
        return id
      }
      await inAnyOrder(
        almost,
        (id) => [restore(id), upkeep, upkeep],
        async ([answer = ''], id) => {
          expect(['ok', 'not_found']).toContain(answer)
          const end = (await channels(id)).slice(2).join()
          // Too late to be restored, and left by upkeep for the next time.
          if (answer === 'not_found') expect(['photo:purged', '']).toContain(end)
          else expect(end).toBe('photo:restored')
        },
        (turn) => turn(() => world.clock.advance(60)),
      )
    })

    test('two upkeeps and two relays share the work: everything is removed and announced once at least', async () => {
      const relay: Work = ({ relay }) => relay.run()
      await inAnyOrder(
        async () => {
          await arrived()
          const id = await deleted()
          await world.clock.advance(RETENTION_SECONDS)
          return id
        },
        () => [upkeep, upkeep, relay, relay],
        async (answers, id) => {
          expect(answers).toEqual(['ok', 'ok', 'ok', 'ok'])
          expect(await channels(id)).toEqual(['photo:uploaded', 'photo:deleted', 'photo:purged'])
        },
      )
    })

    for (const [end, work] of Object.entries<(id: string) => Work>({
      'a delete': remove,
      'a change to private': hide,
      'an erasure':
        () =>
        ({ media }) =>
          media.owners.erase(person.userId),
    })) {
      test(`${end} and two public copies: none is left behind the CDN, with no time to wait`, async () => {
        await inAnyOrder(
          async () => {
            const file = { name: 'a.gif', bytes: gif, visibility: 'public', idempotencyKey: undefined } as const
            return (await soundly(world, ({ media }) => media.uploads.direct(person, file))).id
          },
          (id) => [work(id), upkeep, upkeep],
          async (answers) => {
            expect(answers).toEqual(['ok', 'ok', 'ok'])
            await world.clock.advance(61)
            await passOver(world)
            expect(await world.storage.list({ prefix: 'public/', limit: 10 })).toEqual([])
          },
        )
      })
    }

    test('changes from several processes are announced in their order', async () => {
      const rename =
        (originalName: string) =>
        (id: string): Work =>
        ({ media }) =>
          media.objects.update(id, person, { originalName })
      await inAnyOrder(
        upload,
        (id) => [rename('b.gif')(id), rename('c.gif')(id), remove(id), restore(id)],
        async (answers, id) => {
          const told = (await channels(id)).length
          expect(told).toBe(1 + answers.filter((answer) => answer === 'ok').length)
        },
      )
    })

    test('renditions for an owner and for strangers, and a lost one that is dropped: each is there, and counted once', async () => {
      const wish = { width: 100, height: undefined, fit: 'inside', format: 'auto', quality: 75 } as const
      const asked = { wish, accept: 'image/webp', party: 'address:1' }
      const rendition =
        (viewer: Caller | null) =>
        (id: string): Work =>
        ({ media }) =>
          media.renditions.get(id, viewer, asked)
      const reconcile =
        (id: string): Work =>
        async ({ circuit }) => {
          const row = await circuit.repository.renditions.find(id, person, '')
          for (const { key } of Object.values(row?.renditions ?? {})) await circuit.repository.renditions.drop(id, key)
        }
      await inAnyOrder(
        async () => {
          const file = { name: 'a.gif', bytes: gif, visibility: 'public', idempotencyKey: undefined } as const
          return (await soundly(world, ({ media }) => media.uploads.direct(person, file))).id
        },
        (id) => [rendition(person)(id), rendition(null)(id), rendition(null)(id), reconcile(id), reconcile(id)],
        (answers) => {
          expect(answers).toEqual(['ok', 'ok', 'ok', 'ok', 'ok'])
        },
      )
    })

    test('uploads with one Idempotency-Key make one object', async () => {
      const keyed: Work = ({ media }) => {
        const file = { name: 'a.gif', bytes: gif, visibility: 'private', idempotencyKey: 'a key' } as const
        return media.uploads.direct(person, file)
      }
      await inAnyOrder(
        async () => '',
        () => [keyed, keyed],
        async (answers) => {
          expect(answers).toEqual(['ok', 'ok'])
          const rows = await world.sql`SELECT id FROM media_objects WHERE status = 'active'`
          expect(rows).toHaveLength(1)
        },
      )
    })

    test('two completes of another picture than was declared, and upkeep: one wins, with its type', async () => {
      await inAnyOrder(
        async () => {
          const made = await link()
          await world.put(made, gif)
          return made.id
        },
        (id) => [complete(id), complete(id), upkeep],
        async (answers) => {
          expect(answers).toEqual(['ok', 'ok', 'ok'])
          const rows = await world.sql`SELECT DISTINCT mime_type FROM media_objects WHERE status = 'active'`
          expect(rows.map((row) => row.mime_type)).toEqual(['image/gif'])
        },
      )
    })

    test('a PUT, two completes of what is refused and upkeep: nothing is left', async () => {
      let made: Awaited<ReturnType<typeof link>>
      await inAnyOrder(
        async () => {
          made = await link()
          await world.put(made, pdf)
          return made.id
        },
        (id) => [complete(id), complete(id), upkeep],
        (answers) => {
          const refusals = ['media_type_unsupported', 'not_found', 'upload_incomplete', 'storage_unavailable', 'ok']
          for (const answer of answers) expect(refusals).toContain(answer)
          expect(answers.slice(0, 2)).toContain('media_type_unsupported')
        },
        (turn) => turn(() => world.put(made, png)),
      )
    })
  })
}

function answerOf(outcome: Outcome<unknown>): string {
  if (outcome.kind === 'answered') return 'ok'
  if (outcome.kind === 'killed') return 'killed'
  const { error } = outcome
  if (error instanceof Problem) return error.code
  throw error
}
