import { describe, expect, test } from 'bun:test'
import sharp from 'sharp'
import { nameOf } from '../../src/media/object/rendition.ts'
import type { DecodeTask } from '../../src/pictures/decoding.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { MiB, problemOf, setUpRenditions, wishOf } from '../support/media/renditions.ts'
import { readCase, readCorpus } from '../support/pictures/corpus.ts'
import { databases } from '../support/services/databases.ts'

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`renditions that fail on ${name}`, () => {
    const at = setUpRenditions(open)
    const { owner, service, making, failing, uploaded, rowOf } = at

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
          await at.database.sql`UPDATE media_objects SET decode_outcomes = jsonb_set(decode_outcomes,
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
        const { get } = service({ storage: { ...at.store.storage, read } })
        expect(await codeOf(get, id)).toBe('storage_unavailable')
        expect(await rowOf(id)).toMatchObject({ renditions: {}, outcomes: {} })
      })
    })

    describe('a size on the row that the decoder does not find', () => {
      test('is corrected, and nothing is squeezed', async () => {
        const id = await uploaded(await readCorpus('accept/rocket.jpg'))
        const { get, media, repository } = service()
        const squeezed = { key: `media/${id}/r/old.webp`, sizeBytes: 10 }
        await at.database.sql`UPDATE media_objects SET rendition_bytes = 10,
          metadata = metadata || '{"width": 427, "height": 640}',
          renditions = jsonb_build_object('160x240-inside-75.webp', ${at.database.sql.json(squeezed)}::jsonb)`
        const answer = await get(id, null, wishOf(320))
        const { key } = 'made' in answer ? answer : expect.unreachable()
        const { width, height } = await sharp(await at.store.storage.read(key, { start: 0, length: MiB })).metadata()
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
        ['webp-orientation-behind-1mib.webp.gz', 240, 160],
        ['webp-orientation-long-big-endian.webp', 240, 160],
        ['screen-100x100-frame-120x80-at-60-0.gif', 180, 100],
        ['screen-800x600-frame-120x120.gif', 800, 600],
      ] as const)('%s is not squeezed, whatever its header says', async (file, width, height) => {
        const id = await uploaded(await readCase(file))
        const { get, media } = service()
        const answer = await get(id, null, wishOf(160))
        const { key } = 'made' in answer ? answer : expect.unreachable()
        const made = await sharp(await at.store.storage.read(key, { start: 0, length: MiB })).metadata()
        expect((await media.objects.get(id, owner)).metadata).toMatchObject({ width, height })
        expect(Math.abs(made.width / made.height - width / height)).toBeLessThan(0.02)
      })
    })
  })
}
