import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHash, randomBytes } from 'node:crypto'
import { putDeadlineMs, type Storage } from '../../src/storage/storage.ts'
import { refusal } from '../refusal.ts'
import { type OpenStore, stores } from './stores.ts'

const JPEG = { contentType: 'image/jpeg' }
const UNAVAILABLE = expect.objectContaining({ code: 'storage_unavailable', status: 503 })
// MinIO says 400 where a signed header is missing, AWS 403.
const REFUSED = [400, 403, 422]
const unbound = { size: undefined, sha256: undefined }

for (const { name, present, open } of stores) {
  describe.skipIf(!present)(`the ${name} store`, () => {
    let store: OpenStore
    let storage: Storage
    beforeAll(async () => {
      store = await open()
      storage = store.storage
    }, 30_000)
    afterAll(() => store.close(), 30_000)

    /** What S3 understands as an order to copy, by a bucket's name as found in a link. */
    const copySources = async (key: string) => {
      const [, bucket = ''] = (await signPut(key)).url.pathname.split('/')
      return [`/${bucket}/${key}`, `${bucket}/${key}`].map((from) => ({ 'x-amz-copy-source': from }))
    }
    /** A prefix of the test's own, so that tests don't meet. */
    const newPrefix = () => `media/${crypto.randomUUID()}/`
    const absolute = (link: string) => new URL(link, store.origin)
    const signPut = async (key: string, bound: Partial<Parameters<Storage['signPut']>[1]> = {}) => {
      const { url, headers } = await storage.signPut(key, { expiresIn: 60, ...JPEG, ...unbound, ...bound })
      return { url: absolute(url), headers }
    }
    const send = (link: { url: URL; headers: Record<string, string> }, body: Uint8Array<ArrayBuffer>, changed = {}) =>
      fetch(link.url, { method: 'PUT', headers: without({ ...link.headers, ...changed }), body })

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
        await storage.copy(from, to, { etag: (await storage.head(from))?.etag ?? '' })
        await storage.remove([from])
        expect(await storage.head(to)).toMatchObject({ size: 3000, contentType: 'image/jpeg' })
        expect(same(await storage.read(to, { start: 0, length: 3000 }), bytes)).toBe(true)
      })

      test('copies nothing where nothing is, or something else', async () => {
        const [from, to] = [`${newPrefix()}original.jpg`, `${newPrefix()}original.jpg`]
        expect(await refusal(storage.copy(from, to, { etag: '"any"' }))).toEqual(UNAVAILABLE)
        await storage.put(from, randomBytes(10), JPEG)
        expect(await refusal(storage.copy(from, to, { etag: '"other"' }))).toEqual(UNAVAILABLE)
        expect(await storage.head(to)).toBeNull()
      })

      test('reads nothing of another ETag either', async () => {
        const key = `${newPrefix()}original.jpg`
        await storage.put(key, randomBytes(10), JPEG)
        expect(await refusal(storage.read(key, { start: 0, length: 5, etag: '"other"' }))).toEqual(UNAVAILABLE)
        const etag = (await storage.head(key))?.etag ?? ''
        expect((await storage.read(key, { start: 0, length: 5, etag })).length).toBe(5)
      })
    })

    describe('a link to read', () => {
      const options = {
        from: new Date(),
        expiresIn: 60,
        contentType: 'image/png',
        disposition: 'inline; filename="a.png"',
        cacheControl: 'private, max-age=7',
      }

      test('gives the very bytes, with the type and disposition it was signed with', async () => {
        const key = `${newPrefix()}original.png`
        const bytes = randomBytes(700_000)
        await storage.put(key, bytes, JPEG)
        const answer = await fetch(absolute(await storage.signGet(key, options)))
        expect(answer.status).toBe(200)
        expect(answer.headers.get('content-type')).toBe('image/png')
        expect(answer.headers.get('content-disposition')).toBe('inline; filename="a.png"')
        expect(answer.headers.get('cache-control')).toBe('private, max-age=7')
        expect(same(await answer.bytes(), bytes)).toBe(true)
      })

      test('is the same for the same arguments, so that caches get hits', async () => {
        const key = `${newPrefix()}original.png`
        expect(await storage.signGet(key, options)).toBe(await storage.signGet(key, options))
      })

      test('serves one range, and says what it has of a range outside', async () => {
        const key = `${newPrefix()}original.png`
        const bytes = randomBytes(1000)
        await storage.put(key, bytes, JPEG)
        const link = absolute(await storage.signGet(key, options))
        const some = await fetch(link, { headers: { range: 'bytes=10-19' } })
        expect(some.status).toBe(206)
        expect(some.headers.get('content-range')).toBe('bytes 10-19/1000')
        expect(same(await some.bytes(), bytes.subarray(10, 20))).toBe(true)
        const last = await fetch(link, { headers: { range: 'bytes=-5' } })
        expect(same(await last.bytes(), bytes.subarray(995))).toBe(true)
        const outside = await fetch(link, { headers: { range: 'bytes=1000-' } })
        expect(outside.status).toBe(416)
      })

      test('serves nothing to a browser that has it already', async () => {
        const key = `${newPrefix()}original.png`
        await storage.put(key, randomBytes(1000), JPEG)
        const link = absolute(await storage.signGet(key, options))
        const etag = (await fetch(link)).headers.get('etag') ?? ''
        expect(etag).toMatch(/^"[^"]+"$/)
        expect((await fetch(link, { headers: { 'if-none-match': etag } })).status).toBe(304)
      })

      test('says 404 where nothing is stored', async () => {
        const answer = await fetch(absolute(await storage.signGet(`${newPrefix()}original.png`, options)))
        expect(answer.status).toBe(404)
      })

      test('is refused once it has expired, for another key, and for writing', async () => {
        const [key, other] = [`${newPrefix()}original.png`, `${newPrefix()}original.png`]
        for (const each of [key, other]) await storage.put(each, randomBytes(10), JPEG)
        const link = absolute(await storage.signGet(key, { ...options, from: new Date(), expiresIn: 1 }))
        const elsewhere = new URL(link.href.replace(key, other))
        expect((await fetch(elsewhere)).status).toBe(403)
        expect((await send({ url: link, headers: {} }, randomBytes(3))).status).toBe(403)
        expect((await fetch(link)).status).toBe(200)
        await store.later(2.1)
        expect((await fetch(link)).status).toBe(403)
      }, 20_000)
    })

    describe('a link to upload', () => {
      test('stores what was declared, once', async () => {
        const key = `${newPrefix()}original.jpg`
        const bytes = randomBytes(5000)
        const link = await signPut(key, { size: 5000, sha256: sha256(bytes) })
        expect((await send(link, bytes)).status).toBe(200)
        expect(await storage.head(key)).toMatchObject({ size: 5000, contentType: 'image/jpeg' })
        expect((await send(link, bytes)).status).toBe(412)
        expect(same(await storage.read(key, { start: 0, length: 9999 }), bytes)).toBe(true)
      })

      test('takes any size and any bytes when none were declared', async () => {
        const key = `${newPrefix()}original.jpg`
        expect((await send(await signPut(key), randomBytes(1234))).status).toBe(200)
        expect((await storage.head(key))?.size).toBe(1234)
      })

      test('lets exactly one of six uploads at the same time win, whole', async () => {
        const key = `${newPrefix()}original.jpg`
        const link = await signPut(key)
        const bodies = Array.from({ length: 6 }, () => randomBytes(400_000))
        const answers = await Promise.all(bodies.map((body) => send(link, body)))
        const won = answers.flatMap((answer, i) => (answer.ok ? [i] : []))
        expect(won).toHaveLength(1)
        const stored = await storage.read(key, { start: 0, length: 999_999 })
        expect(same(stored, bodies[won[0] ?? -1] ?? new Uint8Array())).toBe(true)
      })

      test('cannot be made to copy an object that the link is not for', async () => {
        const [victim, key] = [`${newPrefix()}original.jpg`, `${newPrefix()}original.jpg`]
        const secret = randomBytes(1000)
        await storage.put(victim, secret, JPEG)
        const link = await signPut(key)
        for (const source of await copySources(victim)) await send(link, new Uint8Array(), source)
        const stored = await storage.head(key)
        if (stored !== null) expect(same(await storage.read(key, { start: 0, length: 1000 }), secret)).toBe(false)
      })

      const bytes = randomBytes(2000)
      const others = randomBytes(2000)
      const bound = { size: 2000, sha256: sha256(bytes) }
      test.each([
        { what: 'another type', body: bytes, changed: { 'content-type': 'image/png' } },
        { what: 'no If-None-Match', body: bytes, changed: { 'if-none-match': undefined } },
        { what: 'another If-None-Match', body: bytes, changed: { 'if-none-match': '"x"' } },
        { what: 'a byte less', body: bytes.subarray(1), changed: {} },
        { what: 'a byte more', body: randomBytes(2001), changed: {} },
        { what: 'other bytes of the same length', body: others, changed: {} },
      ])('refuses $what and stores nothing', async ({ body, changed }) => {
        const key = `${newPrefix()}original.jpg`
        const link = await signPut(key, bound)
        const answer = await send(link, new Uint8Array(body), changed)
        expect(REFUSED).toContain(answer.status)
        expect(await storage.head(key)).toBeNull()
        expect((await send(link, bytes)).status).toBe(200)
      })

      test('is refused once it has expired, for another key, and for reading', async () => {
        const [key, other] = [`${newPrefix()}original.jpg`, `${newPrefix()}original.jpg`]
        const link = await signPut(key, { expiresIn: 1 })
        expect((await send({ ...link, url: new URL(link.url.href.replace(key, other)) }, bytes)).status).toBe(403)
        expect(REFUSED).toContain((await fetch(link.url)).status)
        await store.later(2.1)
        expect((await send(link, bytes)).status).toBe(403)
        expect(await storage.head(key)).toBeNull()
      }, 20_000)
    })

    test('an aborted signal ends every call with storage_unavailable', async () => {
      const key = `${newPrefix()}original.jpg`
      await storage.put(key, randomBytes(10), JPEG)
      const signal = AbortSignal.abort()
      for (const call of [
        storage.head(key, { signal }),
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
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
/** Bun's toEqual takes seconds for large arrays. */
const same = (one: Uint8Array, other: Uint8Array) => Buffer.compare(one, other) === 0

function without(headers: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
}
