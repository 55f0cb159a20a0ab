import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { putDeadlineMs, type Storage } from '../../src/storage/storage.ts'
import { refusal } from '../support/http/refusal.ts'
import { contractStores, JPEG, newPrefix, type OpenStore, same } from '../support/services/stores.ts'

const AS_JPEG = { ...JPEG, disposition: 'inline' }
const UNAVAILABLE = expect.objectContaining({ code: 'storage_unavailable', kind: 'outage' })

for (const { name, present, open } of contractStores) {
  describe.skipIf(!present)(`the ${name} store`, () => {
    let store: OpenStore
    let storage: Storage
    beforeAll(async () => {
      store = await open()
      storage = store.storage
    }, 30_000)
    afterAll(() => store.close(), 30_000)

    describe('put', () => {
      test('stores bytes under a key, with their type', async () => {
        const key = `${newPrefix()}original.jpg`
        const bytes = randomBytes(300_000)
        await storage.put(key, bytes, JPEG)
        expect(await storage.head(key)).toMatchObject({ size: 300_000, contentType: 'image/jpeg' })
        expect(same(await storage.read(key, { start: 0, length: 300_000 }), bytes)).toBe(true)
      })

      test('stores nothing when the signal was aborted before', async () => {
        const key = `${newPrefix()}original.jpg`
        const put = storage.put(key, randomBytes(10), { ...JPEG, signal: AbortSignal.abort() })
        expect(await refusal(put)).toEqual(UNAVAILABLE)
        expect(await storage.head(key)).toBeNull()
      })

      test('leaves all of the bytes or none when it is aborted on the way', async () => {
        const size = 16 * 1024 * 1024
        for (const milliseconds of [1, 5, 20, 60]) {
          const key = `${newPrefix()}original.jpg`
          const signal = AbortSignal.timeout(milliseconds)
          await storage.put(key, new Uint8Array(size), { ...JPEG, signal }).catch(() => {})
          expect([size, null]).toContain((await storage.head(key))?.size ?? null)
        }
      }, 30_000)
    })

    test('head says null where nothing is stored', async () => {
      expect(await storage.head(`${newPrefix()}original.jpg`)).toBeNull()
    })

    describe('peek', () => {
      test.each([
        [10, 4],
        [10, 9],
        [10, 10],
        [10, 11],
        [1, 1],
        [300_000, 4096],
        [300_000, 1024 * 1024],
        [0, 1],
        [0, 4096],
      ])('says what head says of an object of %d bytes, with its first %d at most', async (size, length) => {
        const key = `${newPrefix()}original.jpg`
        const stored = randomBytes(size)
        await storage.put(key, stored, JPEG)
        const head = await storage.head(key)
        if (head === null) throw new Error('not stored')
        const { bytes, ...said } = (await storage.peek(key, { length })) ?? { bytes: null }
        expect(said).toEqual(head)
        expect(said).toMatchObject({ size, contentType: 'image/jpeg', contentEncoding: null, ordinaryClass: true })
        expect(bytes !== null && same(bytes, stored.subarray(0, length))).toBe(true)
      })

      test('says null where nothing is stored', async () => {
        expect(await storage.peek(`${newPrefix()}original.jpg`, { length: 10 })).toBeNull()
      })
    })

    describe('read', () => {
      const key = 'media/read/digits.txt'
      beforeAll(() => storage.put(key, new TextEncoder().encode('0123456789'), { contentType: 'text/plain' }))
      const read = async (start: number, length: number) => text(await storage.read(key, { start, length }))

      test('gives the bytes from start on, as many as asked for', async () => {
        expect(await read(0, 4)).toBe('0123')
        expect(await read(3, 4)).toBe('3456')
      })

      test('gives fewer where the object ends, and none after it', async () => {
        expect(await read(7, 100)).toBe('789')
        expect(await read(10, 5)).toBe('')
        expect(await read(1000, 5)).toBe('')
      })

      test('fails where nothing is stored', async () => {
        const missing = storage.read(`${newPrefix()}original.jpg`, { start: 0, length: 1 })
        expect(await refusal(missing)).toEqual(UNAVAILABLE)
      })
    })

    describe('list', () => {
      const folder = newPrefix()
      const names = ['-a/x', 'A', 'Z/1', '_', 'a-b', 'a.b', 'a/x', 'a/y/z', 'a0', 'b/original.jpg', 'ba']
      const keys = names.map((rest) => folder + rest).sort()
      beforeAll(async () => {
        for (const key of keys.toReversed()) await storage.put(key.replace('/-a', '/0-a'), new Uint8Array(3), JPEG)
      })
      const stored = keys.map((key) => key.replace('/-a', '/0-a')).sort()
      const list = async (options: { prefix: string; startAfter?: string; limit?: number }) =>
        (await storage.list({ limit: 1000, ...options })).map(({ key }) => key)

      test('gives every object below the prefix in the byte order of the keys', async () => {
        expect(await list({ prefix: folder })).toEqual(stored)
        expect(await list({ prefix: `${folder}a` })).toEqual(stored.filter((key) => key.startsWith(`${folder}a`)))
        expect(await list({ prefix: `${folder}nothing/` })).toEqual([])
        for (const key of stored) expect(await list({ prefix: `${key}.part` })).toEqual([])
      })

      test('goes on after startAfter, whether that exists or not', async () => {
        for (const after of [...stored, `${folder}a/`, `${folder}a/xx`, `${folder}zz`, folder]) {
          expect(await list({ prefix: folder, startAfter: after })).toEqual(stored.filter((key) => key > after))
        }
      })

      test('gives the first ones up to the limit, so that pages follow on each other', async () => {
        const found: string[] = []
        for (let page = await list({ prefix: folder, limit: 4 }); page.length > 0; ) {
          expect(page.length).toBeLessThanOrEqual(4)
          found.push(...page)
          page = await list({ prefix: folder, limit: 4, startAfter: page.at(-1) ?? '' })
        }
        expect(found).toEqual(stored)
      })

      test('says how large an object is and when it was stored', async () => {
        const [first] = await storage.list({ prefix: folder, limit: 1 })
        expect(first?.size).toBe(3)
        expect(Math.abs((first?.lastModified.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)
      })
    })

    describe('remove', () => {
      test('removes these objects and no other, and what is not there is removed already', async () => {
        const folder = newPrefix()
        const [one, two, three] = ['a', 'a-b', 'a.b'].map((rest) => folder + rest) as [string, string, string]
        for (const key of [one, two, three]) await storage.put(key, randomBytes(5), JPEG)
        await storage.remove([one, `${folder}nothing`, three])
        expect((await storage.list({ prefix: folder, limit: 10 })).map(({ key }) => key)).toEqual([two])
        await storage.remove([one])
        expect(await storage.head(one)).toBeNull()
      })
    })

    describe('removePrefix', () => {
      test('removes everything below the prefix and nothing beside it', async () => {
        const folder = newPrefix()
        const keep = [`${folder}10/a`, `${folder}2/a`]
        for (const key of [...keep, `${folder}1/a`, `${folder}1/deep/er/b`])
          await storage.put(key, randomBytes(5), JPEG)
        await storage.removePrefix(`${folder}1/`)
        expect((await storage.list({ prefix: folder, limit: 10 })).map(({ key }) => key)).toEqual(keep)
        expect(await storage.head(`${folder}1/a`)).toBeNull()
      })

      test('succeeds where nothing is, and a second time', async () => {
        await storage.removePrefix(newPrefix())
        await storage.removePrefix(newPrefix())
      })
    })

    describe('copy', () => {
      test('puts the same bytes and type under another key', async () => {
        const [from, to] = [`${newPrefix()}original.jpg`, `${newPrefix()}a1b2/original.jpg`]
        const bytes = randomBytes(3000)
        await storage.put(from, bytes, JPEG)
        const etag = (await storage.head(from))?.etag ?? ''
        await storage.copy(from, to, { etag, size: 3000, as: AS_JPEG })
        await storage.remove([from])
        expect(await storage.head(to)).toMatchObject({ size: 3000, contentType: 'image/jpeg' })
        expect(same(await storage.read(to, { start: 0, length: 3000 }), bytes)).toBe(true)
      })

      test('copies nothing where nothing is, or something else', async () => {
        const [from, to] = [`${newPrefix()}original.jpg`, `${newPrefix()}original.jpg`]
        expect(await refusal(storage.copy(from, to, { etag: '"any"', size: 10, as: AS_JPEG }))).toEqual(UNAVAILABLE)
        await storage.put(from, randomBytes(10), JPEG)
        expect(await refusal(storage.copy(from, to, { etag: '"other"', size: 10, as: AS_JPEG }))).toEqual(UNAVAILABLE)
        expect(await storage.head(to)).toBeNull()
      })

      test('takes the ETag that peek tells', async () => {
        const [from, to] = [`${newPrefix()}original.jpg`, `${newPrefix()}original.jpg`]
        await storage.put(from, randomBytes(10), JPEG)
        const etag = (await storage.peek(from, { length: 1 }))?.etag ?? ''
        await storage.copy(from, to, { etag, size: 10, as: AS_JPEG })
        expect((await storage.head(to))?.size).toBe(10)
      })
    })

    test('an aborted signal ends every call with storage_unavailable', async () => {
      const key = `${newPrefix()}original.jpg`
      await storage.put(key, randomBytes(10), JPEG)
      const signal = AbortSignal.abort()
      for (const call of [
        storage.head(key, { signal }),
        storage.peek(key, { length: 1, signal }),
        storage.read(key, { start: 0, length: 1, signal }),
        storage.list({ prefix: key, limit: 1, signal }),
        storage.remove([key], { signal }),
        storage.removePrefix(key.replace('original.jpg', ''), { signal }),
        storage.check({ signal }),
      ]) {
        expect(await refusal(call)).toEqual(UNAVAILABLE)
      }
      expect((await storage.head(key))?.size).toBe(10)
    })

    test('check resolves while the store can be used and rejects when it cannot', async () => {
      const doomed = await open()
      try {
        await doomed.storage.check()
        await doomed.breakDown()
        expect(await refusal(doomed.storage.check())).toEqual(UNAVAILABLE)
        expect(await refusal(doomed.storage.put('media/x/y', randomBytes(1), JPEG))).toEqual(UNAVAILABLE)
      } finally {
        await doomed.close().catch(() => {})
      }
    }, 30_000)
  })
}

test('a put may take ten seconds, and one more for each MiB', () => {
  expect([0, 1, 1024 * 1024, 1024 * 1024 + 1].map(putDeadlineMs)).toEqual([10_000, 11_000, 11_000, 12_000])
})

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
