import { describe, expect, test } from 'bun:test'
import { cp, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { thumbHashToApproximateAspectRatio, thumbHashToAverageRGBA, thumbHashToRGBA } from 'thumbhash'
import { migrate } from '../../src/db/migrate.ts'
import { MIGRATIONS_FOLDER } from '../../src/db/migrations.ts'
import type { NewObject } from '../../src/media/object/new-object.ts'
import type { Placeholder } from '../../src/media/object/object.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { DecodeFailure } from '../../src/pictures/decoding.ts'
import { createImageProbe } from '../../src/pictures/image.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { domainOn } from '../support/media/domain.ts'
import { arrived, callerOf, newObject } from '../support/media/objects.ts'
import { openEmptied } from '../support/media/rows-and-bytes.ts'
import { accepted, DEFAULT_TYPES, readCorpus } from '../support/pictures/corpus.ts'
import { createInProcessDecoders } from '../support/pictures/in-process.ts'
import { failureOf, job } from '../support/pictures/pool.ts'
import { databases } from '../support/services/databases.ts'
import { createFolder } from '../support/services/folder.ts'
import { JPEG, stores } from '../support/services/stores.ts'

// Sets libvips up, which the decoders of this test share.
createImageProbe({ allowedTypes: DEFAULT_TYPES, maxPixels: 100_000_000 })
const rocket = await readCorpus('accept/rocket.jpg')

async function made(bytes: Uint8Array, mimeType: string): Promise<Placeholder> {
  const { placeholder } = await createInProcessDecoders().run(job({ kind: 'placeholder', mimeType }, bytes))
  return placeholder ?? expect.unreachable()
}

describe('the placeholder of a picture', () => {
  for (const { file, type, width, height } of accepted.filter(({ type }) => DEFAULT_TYPES.has(type))) {
    test(`${file} has its shape`, async () => {
      const { thumbHash, dominantColor } = await made(await readCorpus(file), type)
      const ratio = thumbHashToApproximateAspectRatio(Buffer.from(thumbHash, 'base64'))
      // A hash knows the shape in sevenths.
      expect(Math.abs(Math.log(ratio / (width! / height!)))).toBeLessThan(0.2)
      expect(dominantColor).toMatch(/^#[0-9a-f]{6}$/)
    })
  }

  const blank = (channels: 3 | 4, background: string) =>
    sharp({ create: { width: 300, height: 200, channels, background } })
  const patch = (background: string) => ({ create: { width: 100, height: 100, channels: 4 as const, background } })

  test('has the colour that most of it has, not the average', async () => {
    const mixed = blank(3, '#2040a0').composite([{ input: patch('#f0f000'), left: 0, top: 0 }])
    const { dominantColor, thumbHash } = await made(await mixed.png().toBuffer(), 'image/png')
    expect(dominantColor).toBe('#2040a0')
    const { r, g, b } = thumbHashToAverageRGBA(Buffer.from(thumbHash, 'base64'))
    expect([r * 255 > 0x20, g * 255 > 0x40, b * 255 < 0xa0]).toEqual([true, true, true])
  })

  test('gives transparent pixels no say in it', async () => {
    const logo = blank(4, '#00ff0000').composite([{ input: patch('#c02010'), left: 100, top: 50 }])
    expect((await made(await logo.webp({ lossless: true }).toBuffer(), 'image/webp')).dominantColor).toBe('#c02010')
    expect((await made(await blank(4, '#00ff0000').png().toBuffer(), 'image/png')).dominantColor).toBe('#000000')
  })

  /** The one that is made from a rendition, on the way. */
  async function madeAlong(bytes: Uint8Array, mimeType: string, size: { width: number; height: number }) {
    const rendition = { ...size, fit: 'inside', format: 'webp', quality: 75 } as const
    const task = { kind: 'rendition', mimeType, rendition, expected: size, placeholder: true } as const
    return (await createInProcessDecoders().run(job(task, bytes))).placeholder ?? expect.unreachable()
  }

  test.each(['accept/rocket.jpg', 'accept/coffee.avif', 'accept/astronaut.png'])(
    'of %s is as good when it is made from a rendition',
    async (file) => {
      const { type, width, height } = accepted.find((one) => one.file === file) ?? expect.unreachable()
      const bytes = await readCorpus(file)
      const [own, along] = [await made(bytes, type), await madeAlong(bytes, type, { width: width!, height: height! })]
      const [a, b] = [own, along].map(({ thumbHash }) => thumbHashToRGBA(Buffer.from(thumbHash, 'base64')))
      expect([a!.w, a!.h]).toEqual([b!.w, b!.h])
      const squares = a!.rgba.reduce((sum, value, i) => sum + (value - b!.rgba[i]!) ** 2, 0)
      expect(Math.sqrt(squares / a!.rgba.length)).toBeLessThan(8)
    },
  )

  test('made from a rendition gives transparent pixels no say, either', async () => {
    const logo = blank(4, '#00ff0000').composite([{ input: patch('#c02010'), left: 100, top: 50 }])
    const bytes = await logo.png().toBuffer()
    expect(await madeAlong(bytes, 'image/png', { width: 300, height: 200 })).toMatchObject({
      dominantColor: '#c02010',
    })
  })

  test('has the colours that a person sees, whatever space they are given in', async () => {
    const red = blank(3, '#c02010')
    const wide = await red.clone().withIccProfile('p3').png().toBuffer()
    const { dominantColor } = await made(wide, 'image/png')
    const seen = Buffer.from(dominantColor.slice(1), 'hex')
    for (const [i, channel] of [0xc0, 0x20, 0x10].entries()) expect(Math.abs(seen[i]! - channel)).toBeLessThan(3)
  })

  test.each([
    ['refuse/bomb-900-megapixels.png', 'image/png'],
    ['made/17-million-frames.avif', 'image/avif'],
    ['made/100000-frames.webp', 'image/webp'],
    ['made/claims-16-gigapixels.avif', 'image/avif'],
    ['refuse/text-named.png', 'image/png'],
  ])('%s has none, at little cost', async (file, type) => {
    const bytes = await readCorpus(file)
    const before = performance.now()
    expect(await failureOf(made(bytes, type))).toMatchObject({ kind: 'bad-bytes' })
    expect(performance.now() - before).toBeLessThan(1000)
  })
})

const [disk = expect.unreachable()] = stores.filter(({ name }) => name === 'disk')

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`placeholders made by upkeep, on ${name}`, () => {
    const on = openEmptied(open, disk.open)

    function replica({ decoders = createInProcessDecoders(), storage = on.store.storage, sql = on.database.sql } = {}) {
      const repository = createRepository({ sql, pendingSeconds: 1000, retentionSeconds: 1000 })
      return { repository, upkeep: domainOn({ repository, storage, decoders }).upkeep }
    }
    const repository = () => replica().repository
    const upkeep = () => replica().upkeep

    async function stored(bytes: Uint8Array = rocket, some: Partial<NewObject> = {}) {
      const object = newObject(some)
      await repository().uploads.insert(object)
      await on.store.storage.put(object.key, bytes, JPEG)
      await repository().uploads.activate(object.id, { ...arrived, sizeBytes: bytes.length })
      return object
    }
    const metadataOf = async (object: NewObject) =>
      (await repository().objects.findVisible(object.id, callerOf(object)))?.metadata
    const later = (seconds: number) =>
      on.database
        .sql`UPDATE media_objects SET placeholder_due_at = placeholder_due_at - ${seconds} * interval '1 second'`

    test('come a minute after the upload, once, and say nothing to consumers', async () => {
      const object = await stored()
      expect((await upkeep().run()).placeholders).toBe(0)
      await later(61)
      expect(await upkeep().run()).toMatchObject({ placeholders: 1, failed: [] })
      expect(await metadataOf(object)).toEqual({ ...arrived.metadata, ...(await made(rocket, 'image/jpeg')) })
      await later(1_000_000)
      expect((await upkeep().run()).placeholders).toBe(0)
      const [row] = await on.database.sql`SELECT event_seq AS seq FROM media_objects`
      expect(row?.seq).toBe(1)
    })

    test('are for pictures only, and for active ones', async () => {
      await stored(rocket, { mimeType: 'video/mp4' })
      const deleted = await stored()
      await repository().objects.remove(deleted.id, callerOf(deleted))
      await repository().uploads.insert(newObject())
      await later(61)
      expect((await upkeep().run()).placeholders).toBe(0)
      await repository().objects.restore(deleted.id, callerOf(deleted), { channel: 'photo:restored' })
      expect((await upkeep().run()).placeholders).toBe(1)
    })

    test('are not tried again for what can never have one', async () => {
      const broken = await stored(new TextEncoder().encode('no picture'))
      await later(61)
      const decoders = createInProcessDecoders()
      for (let pass = 0; pass < 3; pass += 1) {
        expect(await replica({ decoders }).upkeep.run()).toMatchObject({ placeholders: 0, failed: [] })
        await later(1_000_000)
      }
      expect(decoders.usage().outcomes['bad-bytes']).toBe(1)
      expect(await metadataOf(broken)).toEqual(arrived.metadata)
    })

    test('are tried again, ever later, a day apart at last, for as long as the store fails or the process dies of it', async () => {
      await stored()
      await later(61)
      const failing: Storage = { ...on.store.storage, read: async () => Promise.reject(new Error('the store is down')) }
      const failed = async () => (await replica({ storage: failing }).upkeep.run()).failed.length
      for (const seconds of [600, 2400, 9600, 38_400, 86_400, 86_400, 86_400]) {
        expect(await failed()).toBe(1)
        await later(seconds - 60)
        expect(await failed()).toBe(0)
        await later(61)
      }
      expect(await upkeep().run()).toMatchObject({ placeholders: 1, failed: [] })
    })

    test('that were not made through nobody’s fault are tried again soon, as if for the first time', async () => {
      await stored()
      const perform = async () => {
        throw new DecodeFailure('not-done', 'overloaded', 'There was no place.')
      }
      for (let pass = 0; pass < 5; pass += 1) {
        await later(61)
        const decoders = createInProcessDecoders({ perform })
        expect(await replica({ decoders }).upkeep.run()).toMatchObject({ placeholders: 0, failed: [] })
        expect(decoders.usage().outcomes['not-done']).toBe(1)
      }
      const [row] = await on.database.sql`
        SELECT placeholder_tries, decode_outcomes, decode_version,
          placeholder_due_at <= now() + interval '1 minute' AS soon FROM media_objects`
      expect(row).toEqual({ placeholder_tries: 0, decode_outcomes: {}, decode_version: null, soon: true })
    })

    test('that are too dear are tried three times, and again when the decoders change', async () => {
      const object = await stored()
      const perform = async () => {
        throw new DecodeFailure('too-dear', 'image_too_large', 'It takes too much.')
      }
      const dear = createInProcessDecoders({ perform })
      for (let pass = 0; pass < 6; pass += 1) {
        await later(86_401)
        expect(await replica({ decoders: dear }).upkeep.run()).toMatchObject({ placeholders: 0, failed: [] })
      }
      expect(dear.usage().outcomes['too-dear']).toBe(3)
      const decoders = createInProcessDecoders({ version: 'with other limits' })
      await replica({ decoders }).upkeep.run()
      await later(86_401)
      expect(await replica({ decoders }).upkeep.run()).toMatchObject({ placeholders: 1, failed: [] })
      expect(await metadataOf(object)).toEqual({ ...arrived.metadata, ...(await made(rocket, 'image/jpeg')) })
    })

    test('are made for all pictures but an unreadable one', async () => {
      const [first, second] = [await stored(), await stored()]
      await later(61)
      const read: Storage['read'] = async (key, range) => {
        if (key === first.key) throw new Error('the bytes are gone')
        return on.store.storage.read(key, range)
      }
      expect((await replica({ storage: { ...on.store.storage, read } }).upkeep.run()).failed).toEqual([
        'makePlaceholders',
      ])
      expect((await metadataOf(second))?.thumbHash).toBeDefined()
    })

    test('are made by one replica each, a bounded number in one pass', async () => {
      await Promise.all(Array.from({ length: 120 }, () => stored()))
      await later(61)
      const made = new Map<string, number>()
      const second = on.database.connectAgain()
      const passes = [on.database.sql, second].map((sql) => {
        const storage: Storage = {
          ...on.store.storage,
          async read(key, range) {
            made.set(key, (made.get(key) ?? 0) + 1)
            return on.store.storage.read(key, range)
          },
        }
        const placeholder = { thumbHash: 'AAAA', dominantColor: '#000000' }
        const perform = async (_: unknown, bytes: Uint8Array) => {
          expect(bytes.length).toBe(rocket.length)
          return { width: 640, height: 427, bytes: undefined, placeholder }
        }
        return replica({ decoders: createInProcessDecoders({ perform }), storage, sql }).upkeep.run()
      })
      const [one, other] = (await Promise.all(passes)).map(({ placeholders }) => placeholders)
      expect(one! + other!).toBe(120)
      expect(Math.max(one!, other!)).toBeLessThanOrEqual(100)
      expect([...made.values()]).toEqual(Array.from({ length: 120 }, () => 1))
    })

    test('come to pictures from before there were any', async () => {
      const [folder, before] = [await createFolder(), await open()]
      try {
        const older = (await readdir(MIGRATIONS_FOLDER)).filter((file) => file < '0005')
        for (const file of older) await cp(join(MIGRATIONS_FOLDER, file), join(folder.path, file))
        await migrate(before.sql, folder.path)
        const { key } = newObject()
        await on.store.storage.put(key, rocket, JPEG)
        await before.sql`
          INSERT INTO media_objects (id, user_id, original_name, mime_type, size_bytes, storage_key, links_until, status)
          VALUES (${key.split('/')[1]!}, gen_random_uuid(), 'a.jpg', 'image/jpeg', ${rocket.length}, ${key}, now(), 'active')`
        await migrate(before.sql)
        expect((await replica({ sql: before.sql }).upkeep.run()).placeholders).toBe(1)
      } finally {
        await before.close()
        await folder.remove()
      }
    })

    test('are kept only while the claim of their maker is in force, and stay as they were first made', async () => {
      const object = await stored()
      const [first, second] = ['AAAA', 'BBBB'].map((thumbHash) => ({ thumbHash, dominantColor: '#000000' }))
      await later(61)
      const asleep = await repository().placeholders.claim()
      await later(601)
      expect(await repository().placeholders.keep(asleep!, second!)).toBe(false)
      const awake = await repository().placeholders.claim()
      expect(await repository().placeholders.keep(asleep!, second!)).toBe(false)
      expect(await repository().placeholders.keep(awake!, first!)).toBe(true)
      expect(await repository().placeholders.keep(awake!, second!)).toBe(false)
      expect(await metadataOf(object)).toEqual({ ...arrived.metadata, ...first })
    })
  })
}
