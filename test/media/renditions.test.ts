import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { gunzipSync } from 'node:zlib'
import sharp from 'sharp'
import type { Quotas } from '../../src/media/object/quota.ts'
import { NO_QUOTAS } from '../../src/media/object/quota.ts'
import { nameOf, type Wish } from '../../src/media/object/rendition.ts'
import type { Viewer } from '../../src/media/object/viewer.ts'
import type { Claim } from '../../src/media/table/renditions.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { DecodeFailure, type DecodeResult, type DecodeTask } from '../../src/pictures/decoding.ts'
import { Problem } from '../../src/problem.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { until } from '../support/clock/until.ts'
import { refusal } from '../support/http/refusal.ts'
import { domainOn } from '../support/media/domain.ts'
import { newCaller } from '../support/media/objects.ts'
import { DEFAULT_TYPES, readCorpus } from '../support/pictures/corpus.ts'
import { createInProcessDecoders } from '../support/pictures/in-process.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'
import { type OpenStore, stores } from '../support/services/stores.ts'

const SIZES = [160, 320, 480, 640, 800, 1280, 1920, 2560, 3840]
const ACCEPTS = ['image/avif', 'image/webp', '*/*']
const SIGNED_URL_SECONDS = 900
const MiB = 1024 * 1024
const limits = {
  allowedTypes: DEFAULT_TYPES,
  maxUploadBytes: 1e8,
  maxObjectBytes: 1e8,
  renditionSizes: SIZES,
  signedUrlSeconds: SIGNED_URL_SECONDS,
  uploadUrlSeconds: 900,
}
const [disk = expect.unreachable()] = stores.filter(({ name }) => name === 'disk')
const large = new Uint8Array(
  await sharp({ create: { width: 5000, height: 4000, channels: 3, background: '#345' } })
    .jpeg()
    .toBuffer(),
)

async function problemOf(call: Promise<unknown>): Promise<Problem> {
  const error = await refusal(call)
  return error instanceof Problem ? error : Promise.reject(error)
}

/** As a plain `?w=` asks, or with more. */
const wishOf = (width: number | undefined, more: Partial<Wish> = {}): Wish => ({
  ...{ width, height: undefined, fit: 'inside', format: 'auto', quality: 75, ...more },
})

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`renditions on ${name}`, () => {
    let database: OpenDatabase
    let store: OpenStore
    const owner = newCaller()
    beforeAll(async () => {
      database = await open({ migrated: true })
      store = await disk.open()
    }, 60_000)
    beforeEach(async () => {
      await database.sql`DELETE FROM media_objects`
      await store.storage.removePrefix('media/')
    })
    afterAll(async () => {
      await store.close()
      await database.close()
    }, 30_000)

    type Some = {
      perform?: (task: DecodeTask, bytes: Uint8Array) => Promise<DecodeResult>
      version?: string
      quotas?: Quotas
      storage?: Storage
      ahead?: number
    }
    /** One replica. */
    function service({ quotas = NO_QUOTAS, storage = store.storage, ahead = 0, ...some }: Some = {}) {
      const repository = createRepository({ sql: database.sql, pendingSeconds: 1e6, retentionSeconds: 1e6, quotas })
      const decoders = createInProcessDecoders(some)
      const ports = { repository, storage, decoders, now: () => Date.now() + ahead }
      const { media, upkeep } = domainOn(ports, { ...limits, quotas, pendingSeconds: 1e6 })
      const get = (id: string, viewer: Viewer, wish: Wish, accept = 'image/webp') =>
        media.renditions.get(id, viewer, { wish, accept, party: 'address:1' })
      return { media, repository, upkeep, decoders, get }
    }
    /** Decoders that make so many bytes of whatever is asked for. */
    const making = (size: number) => async (task: DecodeTask) => ({
      ...(task.kind === 'rendition' ? task.expected : { width: 1, height: 1 }),
      ...{ bytes: new Uint8Array(size), placeholder: undefined },
    })
    const failing = (kind: DecodeFailure['kind'], code: DecodeFailure['code']) => async () => {
      throw new DecodeFailure(kind, code, 'A failure of the test.')
    }
    async function uploaded(bytes = large, visibility: 'public' | 'private' = 'public') {
      const file = { name: 'a.jpg', bytes, visibility, idempotencyKey: undefined }
      return (await service().media.uploads.direct(owner, file)).id
    }
    const rowOf = async (id: string) => {
      const [row] = await database.sql`
        SELECT renditions, rendition_bytes AS own, stranger_bytes AS strangers, metadata, decode_outcomes AS outcomes
        FROM media_objects WHERE id = ${id}`
      return row ?? expect.unreachable()
    }
    const keysOf = async (id: string) =>
      (await store.storage.list({ prefix: `media/${id}/r/`, limit: 1000 })).map(({ key }) => key)
    const today = Math.floor(Date.now() / 86_400_000)
    const setUse = (id: string, day: number) => database.sql`
      UPDATE media_objects SET renditions = (SELECT jsonb_object_agg(name, value || jsonb_build_object('used', ${day}::int))
        FROM jsonb_each(renditions) AS each (name, value)) WHERE id = ${id}`

    describe('a rendition that strangers ask for', () => {
      test('is a width, with everything else as it is by default; the rest takes a link, for the owner too if it is signed', async () => {
        const id = await uploaded()
        const { get } = service({ perform: making(10) })
        const more: Wish[] = [
          ...[wishOf(undefined), wishOf(160, { height: 160 }), wishOf(undefined, { height: 160 })],
          ...[wishOf(160, { fit: 'cover' }), wishOf(160, { format: 'png' }), wishOf(160, { quality: 95 })],
        ]
        for (const wish of more) {
          for (const viewer of [null, newCaller()])
            expect(await refusal(get(id, viewer, wish))).toMatchObject({ code: 'link_required', kind: 'forbidden' })
          expect(await get(id, owner, wish)).toHaveProperty('made')
        }
        expect(await get(id, null, wishOf(100))).toMatchObject({ made: { width: 160 } })
        const secret = await uploaded(large, 'private')
        for (const wish of [wishOf(160), ...more]) {
          expect(await refusal(get(secret, null, wish))).toMatchObject({ code: 'token_missing' })
          expect(await refusal(get(secret, newCaller(), wish))).toMatchObject({ code: 'not_found' })
        }
      })

      test('162 times over leaves the owner every place', async () => {
        const id = await uploaded()
        const { get } = service({ perform: making(10) })
        const asked = Array.from({ length: 6 }, () =>
          SIZES.flatMap((width) => ACCEPTS.map((accept) => get(id, null, wishOf(width), accept))),
        )
        expect((await Promise.all(asked.flat())).length).toBe(162)
        const made = Object.keys((await rowOf(id)).renditions)
        expect(made.length).toBe(SIZES.length * ACCEPTS.length)
        for (let quality = 50, n = 0; n < 100; n += 1) {
          quality = [50, 60, 75, 85, 95][n % 5] ?? 50
          const wish = wishOf(SIZES[Math.floor(n / 5) % 9], {
            ...{ format: n < 45 ? 'jpeg' : 'webp', quality, fit: n < 90 ? 'inside' : 'cover' },
            ...(n < 90 ? {} : { height: SIZES[n - 90] ?? 160, width: 160 }),
          })
          expect(await get(id, owner, wish)).toHaveProperty('made')
        }
        const { renditions, strangers } = await rowOf(id)
        const entries = Object.values(renditions as Record<string, { by?: string }>)
        expect(entries.length).toBe(100)
        const cached = entries.filter(({ by }) => by === 'stranger').length
        expect(strangers).toBe(10 * cached)
      })

      test('is no part of the owner’s quota, is bounded by the row, and says nothing of a quota', async () => {
        const id = await uploaded()
        const quotas = { quotaBytes: 20 * MiB, quotaObjects: null }
        const { get, media } = service({ quotas, perform: making(1.5 * MiB) })
        const before = await media.owners.usage(owner)
        const answers = await Promise.all(SIZES.slice(0, 5).map((width) => get(id, null, wishOf(width))))
        for (const answer of answers) expect('made' in answer || 'publicKey' in answer).toBe(true)
        expect((await media.owners.usage(owner)).bytes).toBe(before.bytes)
        const { strangers, own } = await rowOf(id)
        expect([strangers, own]).toEqual([3 * MiB, 0])
        expect((await keysOf(id)).length).toBe(2)
        const [first, second] = SIZES
        // What did not fit is not made again by the next who asks: they get the largest that is there.
        const spent = service({ quotas, perform: making(1.5 * MiB) })
        const late = await Promise.all(SIZES.slice(0, 5).map((width) => spent.get(id, null, wishOf(width))))
        expect(spent.decoders.usage().outcomes.done).toBe(0)
        const widths = late.map((answer) => ('made' in answer ? answer.made.width : 0))
        expect(new Set(widths).size).toBe(2)
        expect(Math.min(...widths)).toBeGreaterThanOrEqual(first ?? 0)
        expect(second).toBeDefined()
        // And the owner may still have what the quota allows.
        expect(await get(id, owner, wishOf(3840))).toHaveProperty('made')
        expect((await media.owners.usage(owner)).bytes).toBe(before.bytes + 1.5 * MiB)
      })

      test('is the copy without metadata where nothing at all may be made', async () => {
        const id = await uploaded()
        const { get } = service({ perform: making(5 * MiB) })
        for (let i = 0; i < 3; i += 1) expect(await get(id, null, wishOf(640))).toMatchObject({ id, own: false })
        expect(await rowOf(id)).toMatchObject({ renditions: {}, strangers: 0, own: 0 })
        expect(await keysOf(id)).toEqual([])
      })

      test('over the owner’s quota is told the owner and no holder of a link', async () => {
        const id = await uploaded()
        const quotas = { quotaBytes: large.length + 100, quotaObjects: null }
        const { get } = service({ quotas, perform: making(200) })
        expect(await refusal(get(id, owner, wishOf(640)))).toMatchObject({ code: 'quota_exceeded' })
        expect(await refusal(get(id, 'link', wishOf(640)))).toMatchObject({ code: 'overloaded' })
        const small = service({ quotas, perform: making(50) })
        await small.get(id, owner, wishOf(160))
        expect(await get(id, 'link', wishOf(640))).toMatchObject({ made: { width: 160 } })
      })
    })

    describe('a rendition that does not fit into the owner’s quota', () => {
      const quotasOf = (room: number) => ({ quotaBytes: large.length + room, quotaObjects: null })

      test('is not decoded where nothing fits, for the owner or a link', async () => {
        const id = await uploaded()
        const { get, decoders } = service({ quotas: quotasOf(0), perform: making(200) })
        for (let i = 0; i < 2; i += 1) {
          expect(await refusal(get(id, owner, wishOf(640)))).toMatchObject({ code: 'quota_exceeded' })
          expect(await refusal(get(id, 'link', wishOf(640)))).toMatchObject({ code: 'overloaded' })
        }
        expect(decoders.usage().outcomes.done).toBe(0)
        const fewer = service({ quotas: { quotaBytes: null, quotaObjects: 0 }, perform: making(200) })
        expect(await refusal(fewer.get(id, owner, wishOf(640)))).toMatchObject({ code: 'quota_exceeded' })
        expect(fewer.decoders.usage().outcomes.done).toBe(0)
      })

      test('is decoded once, and again when there is room for as much', async () => {
        const id = await uploaded()
        const { get, decoders } = service({ quotas: quotasOf(100), perform: making(200) })
        for (let i = 0; i < 3; i += 1)
          expect(await refusal(get(id, owner, wishOf(640)))).toMatchObject({ code: 'quota_exceeded' })
        expect(decoders.usage().outcomes.done).toBe(1)
        expect(await rowOf(id)).toMatchObject({ renditions: {}, own: 0 })
        // A smaller one may fit.
        const small = service({ quotas: quotasOf(100), perform: making(50) })
        expect(await small.get(id, owner, wishOf(160))).toHaveProperty('made')
        const roomy = service({ quotas: quotasOf(250), perform: making(200) })
        expect(await roomy.get(id, owner, wishOf(640))).toHaveProperty('made')
      })
    })

    describe('a place', () => {
      const NAMES = Array.from({ length: 100 }, (_, n) => `${n + 1}x1-inside-75.webp`)
      /** Fills the row, with strangers' last uses as given; the rest is the owner's. */
      const fill = (id: string, uses: number[]) => {
        const entries = NAMES.map((name, n) => {
          const use = uses[n]
          const entry = { key: `media/${id}/r/${n}.webp`, sizeBytes: 10 }
          return [name, use === undefined ? entry : { ...entry, by: 'stranger', used: use }]
        })
        return database.sql`UPDATE media_objects SET renditions = ${database.sql.json(Object.fromEntries(entries))},
          stranger_bytes = ${10 * uses.length}, rendition_bytes = ${10 * (100 - uses.length)} WHERE id = ${id}`
      }

      test('is given away by the strangers’ one that was not asked for longest; its bytes stay while links to it live', async () => {
        const id = await uploaded()
        await fill(id, [today - 2, today - 5, today])
        await store.storage.put(`media/${id}/r/1.webp`, new Uint8Array(10), { contentType: 'image/webp' })
        const { get } = service({ perform: making(7) })
        await get(id, null, wishOf(640))
        const { renditions, strangers, own } = await rowOf(id)
        expect(NAMES.filter((name) => !(name in renditions))).toEqual([NAMES[1]!])
        expect([Object.keys(renditions).length, strangers, own]).toEqual([100, 27, 970])
        const [due] = await database.sql`
          SELECT links_until >= now() + ${SIGNED_URL_SECONDS - 5} * interval '1 second' AS kept FROM media_objects`
        expect(due?.kept).toBe(true)
        expect((await keysOf(id)).includes(`media/${id}/r/1.webp`)).toBe(true)
        // When that is over, upkeep takes them.
        await database.sql`UPDATE media_objects SET links_until = now() - interval '1 second',
          sweep_due_at = now() - interval '1 second'`
        await service({ ahead: 2 * 86_400_000 }).upkeep.run()
        expect((await keysOf(id)).includes(`media/${id}/r/1.webp`)).toBe(false)
      })

      test('used today goes to no stranger, but to the owner, whose own renditions stay', async () => {
        const id = await uploaded()
        await fill(id, [today, today])
        const { get } = service({ perform: making(7) })
        expect(await get(id, null, wishOf(640))).toMatchObject({ made: { width: 100 } })
        expect((await rowOf(id)).strangers).toBe(20)
        await get(id, owner, wishOf(640))
        await get(id, owner, wishOf(800))
        expect(await rowOf(id)).toMatchObject({ strangers: 0, own: 980 + 14 })
        expect(await refusal(get(id, owner, wishOf(320)))).toMatchObject({ code: 'quota_exceeded' })
        expect(await get(id, null, wishOf(320))).toMatchObject({ made: { width: 800 } })
      })

      test('is free again when its maker has died', async () => {
        const id = await uploaded()
        await fill(id, [])
        const dead = { key: `media/${id}/r/dead.webp`, until: 1 }
        await database.sql`UPDATE media_objects SET rendition_bytes = 990,
          renditions = renditions || jsonb_build_object(${NAMES[4]!}::text, ${database.sql.json(dead)}::jsonb)`
        expect(await service({ perform: making(7) }).get(id, owner, wishOf(640))).toHaveProperty('made')
        expect((await rowOf(id)).renditions[NAMES[4]!]).toBeUndefined()
      })

      test('is noted as used once a day', async () => {
        const id = await uploaded()
        const { get } = service({ perform: making(7) })
        const usedOf = async () =>
          Object.values((await rowOf(id)).renditions as Record<string, { used?: number }>)[0]?.used
        await get(id, null, wishOf(640))
        await setUse(id, today - 3)
        const xmin = async () => (await database.sql`SELECT xmin::text FROM media_objects`)[0]?.xmin
        await get(id, null, wishOf(640))
        const day = await usedOf()
        expect(day).toBeGreaterThanOrEqual(today)
        const version = await xmin()
        for (let i = 0; i < 3; i += 1) await get(id, null, wishOf(640))
        if (Math.floor(Date.now() / 86_400_000) === today) expect(await xmin()).toBe(version)
      })
    })

    describe('a maker that slept', () => {
      const claimOf = (id: string, key: string, own = true): Claim => ({
        ...{ id, userId: owner.userId, name: '640x512-inside-75.webp', key: `media/${id}/r/${key}.webp`, own },
        version: 'in process',
      })
      const life = { victim: null, leaseSeconds: 60, linksSeconds: SIGNED_URL_SECONDS }
      const made = { sizeBytes: 10, placeholder: { thumbHash: 'AAAA', dominantColor: '#000000' } }
      const expire = (id: string) => database.sql`
        UPDATE media_objects SET renditions = jsonb_set(renditions, '{640x512-inside-75.webp,until}', '1') WHERE id = ${id}`

      test.each([true, false])('has lost its claim, whether or not another one has it now (own: %p)', async (own) => {
        const id = await uploaded()
        const { repository } = service()
        const [asleep, awake] = [claimOf(id, 'asleep', own), claimOf(id, 'awake', own)]
        expect(await repository.renditions.claim(asleep, life)).toBe(true)
        expect(await repository.renditions.claim(awake, life)).toBe(false)
        await expire(id)
        expect(await repository.renditions.renew(asleep, 60)).toBe(false)
        expect(await repository.renditions.keep(asleep, made)).toBe('lost')
        expect((await rowOf(id)).metadata).not.toHaveProperty('thumbHash')
        expect(await repository.renditions.claim(awake, life)).toBe(true)
        expect(await repository.renditions.keep(asleep, made)).toBe('lost')
        await repository.renditions.drop(id, asleep.key)
        expect(await repository.renditions.renew(awake, 60)).toBe(true)
        expect(await repository.renditions.keep(awake, made)).toBe('kept')
        expect(await repository.renditions.keep(awake, made)).toBe('lost')
        expect(await rowOf(id)).toMatchObject({ own: own ? 10 : 0, strangers: own ? 0 : 10 })
        expect((await rowOf(id)).metadata).toMatchObject({ thumbHash: 'AAAA' })
      })

      test('is swept once, when nobody can bring bytes any more', async () => {
        const id = await uploaded()
        const { repository } = service()
        const due = async () => {
          const [row] = await database.sql`
            SELECT sweep_due_at = links_until AS swept, links_until > now() + interval '3600 seconds' AS writers
            FROM media_objects WHERE id = ${id}`
          return row
        }
        const one = claimOf(id, 'one')
        expect(await repository.renditions.claim(one, life)).toBe(true)
        expect(await due()).toEqual({ swept: true, writers: true })
        // A sweep that has ended meanwhile is due again with the bytes that a renewed claim may bring.
        await database.sql`UPDATE media_objects SET sweep_due_at = NULL WHERE id = ${id}`
        expect(await repository.renditions.renew(one, 60)).toBe(true)
        expect(await due()).toEqual({ swept: true, writers: true })
      })

      test('and drops takes off exactly what is there, however many do', async () => {
        const id = await uploaded()
        const { repository } = service()
        for (const own of [true, false]) {
          const claim = claimOf(id, `kept-${own}`, own)
          await repository.renditions.claim(claim, life)
          await repository.renditions.keep(claim, made)
          const second = createRepository({ sql: database.connectAgain(), pendingSeconds: 1e6, retentionSeconds: 1e6 })
          await Promise.all([
            repository.renditions.drop(id, claim.key),
            second.renditions.drop(id, claim.key),
            repository.renditions.drop(id, claim.key),
          ])
          expect(await rowOf(id)).toMatchObject({ renditions: {}, own: 0, strangers: 0 })
        }
      })

      test.skipIf(name === 'PGlite').each([true, false])(
        'and one that is dropped while it is kept is taken off as it is by then (own: %p)',
        async (own) => {
          const id = await uploaded()
          const { repository } = service()
          const claim = claimOf(id, 'kept', own)
          await repository.renditions.claim(claim, life)
          const second = createRepository({ sql: database.connectAgain(), pendingSeconds: 1e6, retentionSeconds: 1e6 })
          const waits = async () => {
            const [row] = await database.sql`
            SELECT count(*)::int AS n FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'`
            return row?.n > 0
          }
          let dropped: Promise<void> | undefined
          await database.sql.begin(async (tx) => {
            const keeper = createRepository({ sql: tx, pendingSeconds: 1e6, retentionSeconds: 1e6 })
            expect(await keeper.renditions.keep(claim, made)).toBe('kept')
            dropped = second.renditions.drop(id, claim.key)
            await until(waits)
          })
          await dropped
          expect(await rowOf(id)).toMatchObject({ renditions: {}, own: 0, strangers: 0 })
        },
      )
    })

    describe('what failed', () => {
      const codeOf = async (get: ReturnType<typeof service>['get'], id: string, width = 640) =>
        (await problemOf(get(id, owner, wishOf(width)))).code

      test('for bad bytes is not decoded again, whichever size is asked for, until the decoders change', async () => {
        const id = await uploaded()
        const { get, decoders } = service({ perform: failing('bad-bytes', 'image_unreadable') })
        for (const width of [640, 640, 320, 800]) expect(await codeOf(get, id, width)).toBe('image_unreadable')
        expect(decoders.usage().outcomes['bad-bytes']).toBe(1)
        const other = service({ perform: making(7) })
        expect(await codeOf(other.get, id)).toBe('image_unreadable')
        expect(await service({ perform: making(7), version: 'two' }).get(id, owner, wishOf(640))).toHaveProperty('made')
        expect(await rowOf(id)).toMatchObject({ own: 7 })
      })

      test('for its cost is tried three times, the pauses between them kept; other sizes are not held up by it', async () => {
        const id = await uploaded()
        const perform = failing('too-dear', 'image_too_large')
        const { get, decoders } = service({ perform })
        const codes: string[] = []
        for (let i = 0; i < 4; i += 1) {
          for (let again = 0; again < 2; again += 1) {
            const problem = await problemOf(get(id, owner, wishOf(640)))
            codes.push(problem.code)
            if (problem.code === 'overloaded') expect(problem.retryAfterSeconds).toBeGreaterThan(60)
          }
          await database.sql`UPDATE media_objects SET decode_outcomes = jsonb_set(decode_outcomes,
            ARRAY['640x512-inside-75.webp', 'until'], '1')`
        }
        const late = ['overloaded', 'overloaded']
        expect(codes).toEqual([...late, ...late, ...Array(4).fill('image_too_large')])
        expect(decoders.usage().outcomes['too-dear']).toBe(3)
        const other = service({ perform: making(7) })
        expect(await other.get(id, owner, wishOf(320))).toHaveProperty('made')
        expect(await codeOf(other.get, id)).toBe('image_too_large')
        const upgraded = service({ perform: making(7), version: 'with more memory' })
        expect(await upgraded.get(id, owner, wishOf(640))).toHaveProperty('made')
      })

      test('for the size of its result is not decoded again, but other sizes are, and so is it by other decoders', async () => {
        const id = await uploaded()
        const perform = async (task: DecodeTask) =>
          making(task.kind === 'rendition' && task.rendition.width > 320 ? 50 * MiB + 1 : 7)(task)
        const { get, decoders } = service({ perform })
        for (let i = 0; i < 3; i += 1) expect(await codeOf(get, id)).toBe('image_too_large')
        expect(decoders.usage().outcomes.done).toBe(1)
        expect(await rowOf(id)).toMatchObject({ renditions: {}, own: 0 })
        expect(await codeOf(service({ perform }).get, id)).toBe('image_too_large')
        expect(await get(id, owner, wishOf(320))).toHaveProperty('made')
        const upgraded = service({ perform: making(7), version: 'of smaller files' })
        expect(await upgraded.get(id, owner, wishOf(640))).toHaveProperty('made')
      })

      test('for its cost even as a placeholder is too dear as a whole', async () => {
        const id = await uploaded()
        const { key } = await service().media.objects.get(id, owner)
        const { repository, get, decoders } = service({ perform: making(7) })
        const failed = { id, source: key, task: 'placeholder', version: decoders.version, final: false } as const
        for (let i = 0; i < 2; i += 1) await repository.outcomes.note({ ...failed, code: 'image_too_large' })
        expect(await get(id, owner, wishOf(320))).toHaveProperty('made')
        await repository.outcomes.note({ ...failed, code: 'image_too_large' })
        expect(await codeOf(get, id, 800)).toBe('image_too_large')
      })

      test('for lack of resources leaves no trace, and is retried by the next request', async () => {
        const id = await uploaded()
        const { get } = service({ perform: failing('not-done', 'overloaded') })
        for (let i = 0; i < 5; i += 1) expect(await codeOf(get, id)).toBe('overloaded')
        expect(await rowOf(id)).toMatchObject({ renditions: {}, outcomes: {} })
        expect(await service({ perform: making(7) }).get(id, owner, wishOf(640))).toHaveProperty('made')
      })

      test('because the store did not give the original leaves no trace either', async () => {
        const id = await uploaded()
        const read: Storage['read'] = async () => new Uint8Array(0)
        const { get } = service({ storage: { ...store.storage, read } })
        expect(await codeOf(get, id)).toBe('storage_unavailable')
        expect(await rowOf(id)).toMatchObject({ renditions: {}, outcomes: {} })
      })
    })

    describe('a size on the row that the decoder does not find', () => {
      test('is corrected, and nothing is squeezed', async () => {
        const id = await uploaded(await readCorpus('accept/rocket.jpg'))
        const { get, media, repository } = service()
        const squeezed = { key: `media/${id}/r/old.webp`, sizeBytes: 10 }
        await database.sql`UPDATE media_objects SET rendition_bytes = 10,
          metadata = metadata || '{"width": 427, "height": 640}',
          renditions = jsonb_build_object('160x240-inside-75.webp', ${database.sql.json(squeezed)}::jsonb)`
        const answer = await get(id, null, wishOf(320))
        const { key } = 'made' in answer ? answer : expect.unreachable()
        const { width, height } = await sharp(await store.storage.read(key, { start: 0, length: MiB })).metadata()
        expect([width, height]).toEqual([320, 214])
        expect((await media.objects.get(id, owner)).metadata).toMatchObject({ width: 640, height: 427 })
        expect(Object.keys((await rowOf(id)).renditions)).toEqual([
          nameOf({ width: 320, height: 214, fit: 'inside', format: 'webp', quality: 75 }),
        ])
        expect((await rowOf(id)).own).toBe(0)
        // Only while it is the wrong one.
        const row = await media.objects.get(id, owner)
        await repository.outcomes.correctSize(
          { ...row, metadata: { width: 1, height: 1 } },
          { width: 2, height: 2 },
          900,
        )
        expect((await media.objects.get(id, owner)).metadata).toMatchObject({ width: 640, height: 427 })
      })

      test.each([
        'webp-orientation-behind-1mib.webp.gz',
        'webp-orientation-long-big-endian.webp',
        'screen-100x100-frame-120x80-at-60-0.gif',
        'screen-800x600-frame-120x120.gif',
      ])('%s is not squeezed, whatever its header says', async (file) => {
        const stored = await Bun.file(`${import.meta.dir}/../pictures/cases/${file}`).bytes()
        const id = await uploaded(new Uint8Array(file.endsWith('.gz') ? gunzipSync(stored) : stored))
        const { get, media } = service()
        const answer = await get(id, null, wishOf(160))
        const { key } = 'made' in answer ? answer : expect.unreachable()
        const made = await sharp(await store.storage.read(key, { start: 0, length: MiB })).metadata()
        const { width, height } = (await media.objects.get(id, owner)).metadata
        const found = await sharp(new Uint8Array(file.endsWith('.gz') ? gunzipSync(stored) : stored)).metadata()
        expect([width, height]).toEqual([found.autoOrient.width, found.autoOrient.height])
        expect(Math.abs(made.width / made.height - (width ?? 0) / (height ?? 1))).toBeLessThan(0.02)
      })
    })
  })
}
