/**
 * One test for each way in which one of the six promises of the design would break first. Each names the line that
 * keeps it, and fails when that line is taken out.
 */

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { v7 as uuidv7 } from 'uuid'
import type { Caller } from '../../src/auth/caller.ts'
import { INSPECTED_BYTES } from '../../src/pictures/limits.ts'
import { Problem } from '../../src/problem.ts'
import { until } from '../support/clock/until.ts'
import { audit } from './audit.ts'
import { faults, type Turn } from './circuit.ts'
import { pdf, picture } from './pictures.ts'
import { attempt, type Outcome, passOver, type Replica, soundly, startReplica } from './replica.ts'
import { PENDING_SECONDS, RETENTION_SECONDS, UPLOAD_URL_SECONDS, type World, worlds } from './world.ts'

const gif = picture('image/gif', 300)
const png = picture('image/png', 400)

for (const { name, present, open } of worlds) {
  describe.skipIf(!present)(`the six promises, ${name}`, () => {
    let world: World
    const person: Caller = { userId: crypto.randomUUID(), role: 'user' }
    const stranger: Caller = { userId: crypto.randomUUID(), role: 'user' }
    beforeAll(async () => {
      world = await open()
    }, 60_000)
    afterEach(() => world.clear())
    afterAll(() => world.close(), 60_000)

    const upload = ({ media }: Replica) =>
      media.uploads.direct(person, { name: 'a.gif', bytes: gif, visibility: 'private', idempotencyKey: undefined })
    const presign = ({ media }: Replica) => {
      const unbound = { size: undefined, sha256: undefined, idempotencyKey: 'a key' }
      return media.uploads.presign(person, {
        filename: 'a.png',
        fileType: 'image/png',
        visibility: 'private',
        ...unbound,
      })
    }
    const healed = async () => [...(await passOver(world)), ...(await audit(world))]
    const rows = () => world.sql`SELECT id FROM media_objects`

    // 1. src/media/table/uploads.ts, insert: `WHERE ${object.madeAt}::bigint > extract(…)`
    test('1: a process that slept through the removal of its bytes does not bring their row to life', async () => {
      const held = holdCall(2)
      const outcome = attempt(startReplica(world, { turn: held.turn }), upload)
      await held.reached
      await until(async () => (await world.storage.list({ prefix: '', limit: 1 })).length === 1)
      await world.clock.advance(PENDING_SECONDS + 1)
      expect(await healed()).toEqual([])
      held.release()
      expect((await outcome).kind).toBe('refused')
      expect(await healed()).toEqual([])
      expect(await rows()).toHaveLength(0)
    })

    // 1. src/media/uploads/direct.ts, store: `if (put.status === 'rejected') throw put.reason`
    test('1: an upload whose bytes the store did not take is not active', async () => {
      const outcome = await attempt(startReplica(world, { plan: { at: 1, fault: 'fails before' } }), upload)
      expect(outcome.kind).toBe('refused')
      await world.clock.advance(PENDING_SECONDS + 1)
      expect(await healed()).toEqual([])
    })

    // 1. src/media/table/uploads.ts, activate: `AND status = 'pending'`; the table's CHECK on upkeep_due_at stands behind it
    test('1: an upload that was given up while its bytes were looked at is not active', async () => {
      const link = await soundly(world, presign)
      await world.put(link, png)
      const held = holdCall(3)
      const outcome = attempt(startReplica(world, { turn: held.turn }), ({ media }) =>
        media.uploads.complete(link.id, person),
      )
      await held.reached
      await soundly(world, ({ media }) => media.uploads.abort(link.id, person))
      held.release()
      expect(seenOf(await outcome)).toContain('not_found')
      await world.clock.advance(PENDING_SECONDS)
      expect(await healed()).toEqual([])
    })

    // 1. src/storage/disk/storage.ts, copy: `await utimes(path, copiedAt, copiedAt)`
    test('1: a copy is as young as the copying, so that upkeep does not sweep it before its row knows it', async () => {
      const { bareStorage: storage } = world
      const [from, to] = ['media/a/original.gif', 'media/a/b/original.gif']
      await storage.put(from, gif, { contentType: 'image/gif' })
      await Bun.sleep(1500)
      const copiedAt = Date.now()
      const head = await storage.head(from)
      await storage.copy(from, to, {
        etag: head?.etag ?? '',
        size: gif.length,
        as: { contentType: 'image/gif', disposition: 'inline' },
      })
      const listed = await storage.list({ prefix: 'media/a/b/', limit: 1 })
      // Some stores tell whole seconds.
      expect(listed[0]?.lastModified.getTime()).toBeGreaterThanOrEqual(copiedAt - 1000)
    })

    // 2. src/media/upkeep/steps/orphans.ts: `await storage.remove(orphans)`
    test('2: bytes whose process died before it wrote their row are removed', async () => {
      await attempt(startReplica(world, { plan: { at: 2, fault: 'dies waiting' } }), upload)
      expect(await world.storage.list({ prefix: '', limit: 10 })).toHaveLength(1)
      await world.clock.advance(PENDING_SECONDS + 1)
      expect(await healed()).toEqual([])
    })

    // 2. src/media/upkeep/steps/orphans.ts: `madeAtOf(id) < oldBefore`
    test('2: bytes that came late for their name are removed by that name, however young the store says they are', async () => {
      // So that the search has not come so far yet.
      await world.clock.advance(3600)
      const key = `media/${uuidv7({ msecs: world.clock.now() - PENDING_SECONDS * 1000 - 60_000 })}/original.gif`
      await world.storage.put(key, gif, { contentType: 'image/gif' })
      expect(await healed()).toEqual([])
    })

    // 2. src/media/upkeep/steps/purge.ts: `await storage.removePrefix(prefix)`; that it comes after the last link,
    // two lines keep: there `if (!linksDead)`, and in src/media/table/purging.ts, forget, `AND links_until < now()`
    test('2: bytes that arrive under a link after their object was given up are removed before its row goes', async () => {
      const link = await soundly(world, presign)
      await world.put(link, pdf)
      await attempt(startReplica(world), ({ media }) => media.uploads.complete(link.id, person))
      await passOver(world)
      expect(await world.put(link, png)).toBe(true)
      await world.clock.advance(UPLOAD_URL_SECONDS + 3600 + 60)
      expect(await healed()).toEqual([])
      expect(await rows()).toHaveLength(0)
    })

    // 3. src/media/outbox/send.ts, send: `events.publish(owed)` before `repository.outbox.settle(owed)`
    test('3: an event is sent by another process when its own died, before or after it sent it', async () => {
      for (const fault of faults) {
        for (const at of [4, 5]) await attempt(startReplica(world, { plan: { at, fault } }), upload)
      }
      await world.clock.advance(60)
      await soundly(world, ({ relay }) => relay.run())
      expect(await audit(world)).toEqual([])
    })

    // 3. src/media/table/fragments.ts, without: `$[*] ? (!(@.payload.eventId == $sent[*]))`
    test('3: a change made while another is being sent stays owed, and comes after it', async () => {
      const held = holdCall(5)
      const outcome = attempt(startReplica(world, { turn: held.turn }), upload)
      await held.reached
      const [row] = await rows()
      const dies = startReplica(world, { plan: { at: 2, fault: 'dies before' } })
      await attempt(dies, ({ media }) => media.objects.remove(row?.id, person))
      held.release()
      await outcome
      await soundly(world, ({ relay }) => relay.run())
      expect(await audit(world)).toEqual([])
    })

    // 3. src/media/table/purging.ts, forget: `outbox = '[]'`
    test('3: a row outlives its bytes until what it owes is sent', async () => {
      const { id } = await soundly(world, upload)
      await soundly(world, ({ media }) => media.objects.remove(id, person))
      await world.clock.advance(RETENTION_SECONDS)
      const deaf = { ...world, events: { ...world.events, publish: () => Promise.reject(new Error('down')) } }
      await attempt(startReplica(deaf), ({ upkeep }) => upkeep.run())
      expect(await rows()).toHaveLength(1)
      await world.clock.advance(61)
      expect(await healed()).toEqual([])
      expect(await rows()).toHaveLength(0)
    })

    // 4. src/media/table/objects.ts: `AND ${ownedBy(caller)}` of findOwned (which update and restore ask first, and have
    // it again themselves) and of remove; `AND ${mayView}` of findVisible
    test('4: a stranger gets the same answer for what is active, pending, deleted, gone or made up', async () => {
      const active = await soundly(world, upload)
      const deleted = await soundly(world, upload)
      await soundly(world, ({ media }) => media.objects.remove(deleted.id, person))
      const pending = await soundly(world, presign)
      await world.put(pending, png)
      const ids = [active.id, deleted.id, pending.id, uuidv7()]
      const calls: ((replica: Replica) => Promise<unknown>)[] = ids.flatMap((id) => [
        ({ media }: Replica) => media.objects.get(id, stranger),
        ({ media }: Replica) => media.uploads.complete(id, stranger),
        ({ media }: Replica) => media.objects.update(id, stranger, { visibility: 'public' }),
        ({ media }: Replica) => media.objects.remove(id, stranger),
        ({ media }: Replica) => media.objects.restore(id, stranger),
      ])
      const answers = new Set<string>()
      for (const call of calls) answers.add(seenOf(await attempt(startReplica(world), call)))
      expect(answers.size).toBe(1)
      expect([...answers][0]).toContain('["absent","not_found"')
      const lists = await soundly(world, ({ media }) => media.objects.listByIds(stranger, ids))
      expect(lists).toEqual([])
    })

    // 5. src/media/uploads/complete.ts, examine: `length: INSPECTED_BYTES`. For direct uploads it is
    // src/http/body/memory.ts, whose own test is test/routes/upload-memory.test.ts.
    test('5: however much a client puts on a link, no more than the beginning of it is read', async () => {
      const link = await soundly(world, presign)
      await world.put(link, picture('image/png', 3 * INSPECTED_BYTES))
      const lengths: number[] = []
      const peek: World['storage']['peek'] = async (key, options) => {
        const peeked = await world.storage.peek(key, options)
        lengths.push(peeked?.bytes.length ?? 0)
        return peeked
      }
      const watched = { ...world, storage: { ...world.storage, peek } }
      await soundly(watched, ({ media }) => media.uploads.complete(link.id, person))
      expect(lengths).toEqual([INSPECTED_BYTES])
    })

    // 6. src/media/table: `now() + ${seconds(…LEASE_SECONDS)}` of the claims of outbox.ts and purging.ts, and of take in
    // searches.ts: a claim ends by itself, and nobody has to remember it.
    test('6: what a process had claimed when it died another one takes up a minute later', async () => {
      const { id } = await soundly(world, upload)
      await soundly(world, ({ media }) => media.objects.remove(id, person))
      await attempt(startReplica(world, { plan: { at: 2, fault: 'dies waiting' } }), upload)
      await world.clock.advance(RETENTION_SECONDS)
      for (let at = 1; at <= 16; at += 1) {
        await attempt(startReplica(world, { plan: { at, fault: 'dies after' } }), ({ upkeep }) => upkeep.run())
      }
      await world.clock.advance(10)
      await attempt(startReplica(world, { plan: { at: 1, fault: 'dies after' } }), ({ relay }) => relay.run())
      await world.clock.advance(61)
      expect(await healed()).toEqual([])
      expect(await rows()).toHaveLength(0)
    })
  })
}

/** Keeps back one of a process's calls, counted from 1. */
function holdCall(number: number): { turn: Turn; reached: Promise<void>; release: () => void } {
  const reached = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  let calls = 0
  return {
    async turn(call) {
      calls += 1
      if (calls === number) {
        reached.resolve()
        await released.promise
      }
      return call()
    },
    reached: reached.promise,
    release: () => released.resolve(),
  }
}

/** All that a caller is told. */
function seenOf(outcome: Outcome<unknown>): string {
  if (outcome.kind !== 'refused' || !(outcome.error instanceof Problem)) return JSON.stringify(outcome)
  const { kind, code, message } = outcome.error
  return JSON.stringify([kind, code, message])
}
