import { describe, expect, test } from 'bun:test'
import type { Wish } from '../../src/media/object/rendition.ts'
import type { Claim } from '../../src/media/table/renditions.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { until } from '../support/clock/until.ts'
import { refusal } from '../support/http/refusal.ts'
import { newCaller } from '../support/media/objects.ts'
import { ACCEPTS, large, MiB, SIGNED_URL_SECONDS, SIZES, setUpRenditions, wishOf } from '../support/media/renditions.ts'
import { databases } from '../support/services/databases.ts'

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`renditions on ${name}`, () => {
    const at = setUpRenditions(open)
    const { owner, service, making, uploaded, rowOf, keysOf, today, setUse } = at

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
        return at.database
          .sql`UPDATE media_objects SET renditions = ${at.database.sql.json(Object.fromEntries(entries))},
          stranger_bytes = ${10 * uses.length}, rendition_bytes = ${10 * (100 - uses.length)} WHERE id = ${id}`
      }

      test('is given away by the strangers’ one that was not asked for longest; its bytes stay while links to it live', async () => {
        const id = await uploaded()
        await fill(id, [today - 2, today - 5, today])
        await at.store.storage.put(`media/${id}/r/1.webp`, new Uint8Array(10), { contentType: 'image/webp' })
        const { get } = service({ perform: making(7) })
        await get(id, null, wishOf(640))
        const { renditions, strangers, own } = await rowOf(id)
        expect(NAMES.filter((name) => !(name in renditions))).toEqual([NAMES[1]!])
        expect([Object.keys(renditions).length, strangers, own]).toEqual([100, 27, 970])
        const [due] = await at.database.sql`
          SELECT links_until >= now() + ${SIGNED_URL_SECONDS - 5} * interval '1 second' AS kept FROM media_objects`
        expect(due?.kept).toBe(true)
        expect((await keysOf(id)).includes(`media/${id}/r/1.webp`)).toBe(true)
        // When that is over, upkeep takes them.
        await at.database.sql`UPDATE media_objects SET links_until = now() - interval '1 second',
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
        await at.database.sql`UPDATE media_objects SET rendition_bytes = 990,
          renditions = renditions || jsonb_build_object(${NAMES[4]!}::text, ${at.database.sql.json(dead)}::jsonb)`
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
        const xmin = async () => (await at.database.sql`SELECT xmin::text FROM media_objects`)[0]?.xmin
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
      const expire = (id: string) => at.database.sql`
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
          const [row] = await at.database.sql`
            SELECT sweep_due_at = links_until AS swept, links_until > now() + interval '3600 seconds' AS writers
            FROM media_objects WHERE id = ${id}`
          return row
        }
        const one = claimOf(id, 'one')
        expect(await repository.renditions.claim(one, life)).toBe(true)
        expect(await due()).toEqual({ swept: true, writers: true })
        // A sweep that has ended meanwhile is due again with the bytes that a renewed claim may bring.
        await at.database.sql`UPDATE media_objects SET sweep_due_at = NULL WHERE id = ${id}`
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
          const second = createRepository({
            sql: at.database.connectAgain(),
            pendingSeconds: 1e6,
            retentionSeconds: 1e6,
          })
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
          const second = createRepository({
            sql: at.database.connectAgain(),
            pendingSeconds: 1e6,
            retentionSeconds: 1e6,
          })
          const waits = async () => {
            const [row] = await at.database.sql`
            SELECT count(*)::int AS n FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'`
            return row?.n > 0
          }
          let dropped: Promise<void> | undefined
          await at.database.sql.begin(async (tx) => {
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
  })
}
