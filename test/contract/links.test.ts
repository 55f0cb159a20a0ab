import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHash, randomBytes } from 'node:crypto'
import type { Storage } from '../../src/storage/storage.ts'
import { contractStores, JPEG, newPrefix, type OpenStore, same } from '../support/services/stores.ts'

// MinIO says 400 where a signed header is missing, AWS 403.
const REFUSED = [400, 403, 422]
const unbound = { size: undefined, sha256: undefined }

for (const { name, present, open } of contractStores) {
  describe.skipIf(!present)(`links of the ${name} store`, () => {
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
    const absolute = (link: string) => new URL(link, store.origin)
    const signPut = async (key: string, bound: Partial<Parameters<Storage['signPut']>[1]> = {}) => {
      const { url, headers } = await storage.signPut(key, { expiresIn: 60, ...JPEG, ...unbound, ...bound })
      return { url: absolute(url), headers }
    }
    const send = (link: { url: URL; headers: Record<string, string> }, body: Uint8Array<ArrayBuffer>, changed = {}) =>
      fetch(link.url, { method: 'PUT', headers: without({ ...link.headers, ...changed }), body })

    describe('a link to read', () => {
      const options = GET

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

      test('says how long its answer is', async () => {
        const key = `${newPrefix()}original.png`
        await storage.put(key, randomBytes(700_000), JPEG)
        const link = absolute(await storage.signGet(key, options))
        for (const [headers, length] of [
          [{}, '700000'],
          [{ range: 'bytes=10-300009' }, '300000'],
        ] as const) {
          const answer = await fetch(link, { headers })
          expect(answer.headers.get('content-length')).toBe(length)
          await answer.bytes()
        }
      })

      // Stores differ here; the disk's links do as RFC 9110 says.
      test.skipIf(name !== 'disk')('follows the conditions and ranges of RFC 9110', async () => {
        const key = `${newPrefix()}original.png`
        const bytes = randomBytes(1000)
        await storage.put(key, bytes, JPEG)
        const link = absolute(await storage.signGet(key, options))
        const etag = (await fetch(link, { method: 'HEAD' })).headers.get('etag') ?? ''
        for (const [headers, status, range] of [
          [{ range: 'bytes=-0' }, 416, 'bytes */1000'],
          [{ range: 'Bytes=990-2000' }, 206, 'bytes 990-999/1000'],
          [{ range: 'bytes=5-2' }, 200, null],
          [{ range: 'bytes=1000-0' }, 200, null],
          [{ range: 'pages=1-2' }, 200, null],
          [{ 'if-none-match': `W/${etag}` }, 304, null],
          [{ 'if-none-match': '"other"' }, 200, null],
          [{ 'if-match': etag, range: 'bytes=0-0' }, 206, 'bytes 0-0/1000'],
          [{ 'if-match': '*' }, 200, null],
          [{ 'if-match': `W/${etag}` }, 412, null],
          [{ 'if-match': '"other"', 'if-none-match': etag }, 412, null],
          [{ 'if-range': `W/${etag}`, range: 'bytes=0-0' }, 200, null],
        ] as const) {
          const answer = await fetch(link, { headers })
          expect({ headers, status: answer.status, range: answer.headers.get('content-range') }).toEqual({
            ...{ headers, status, range },
          })
          await answer.bytes()
        }
        const head = await fetch(link, { method: 'HEAD', headers: { range: 'bytes=0-9' } })
        expect([head.status, head.headers.get('content-length')]).toEqual([200, '1000'])
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
        const since = (expiresIn: number) =>
          storage.signGet(key, { ...options, from: new Date(Date.now() - 60_000), expiresIn }).then(absolute)
        const link = await since(120)
        const elsewhere = new URL(link.href.replace(key, other))
        expect((await fetch(elsewhere)).status).toBe(403)
        expect((await send({ url: link, headers: {} }, randomBytes(3))).status).toBe(403)
        expect((await fetch(link)).status).toBe(200)
        expect((await fetch(await since(59))).status).toBe(403)
      })
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

      test.each([
        ['content-encoding', 'gzip'],
        ['x-amz-acl', 'public-read'],
        ['x-amz-meta-snowball-auto-extract', 'true'],
        ['x-amz-object-lock-legal-hold', 'ON'],
        ['x-amz-object-lock-mode', 'COMPLIANCE'],
        ['x-amz-server-side-encryption', 'AES256'],
        ['x-amz-storage-class', 'REDUCED_REDUNDANCY'],
        ['x-amz-tagging', 'a=b'],
        ['x-amz-website-redirect-location', 'https://elsewhere.test/'],
        ['x-minio-source-etag', '0123456789abcdef0123456789abcdef'],
        ['x-minio-source-mtime', '2001-01-01T00:00:00.000Z'],
      ])('takes nothing of what a client says beside it: %s', async (name, value) => {
        const prefix = newPrefix()
        const [key, plain] = [`${prefix}original.jpg`, `${prefix}plain.jpg`]
        const body = randomBytes(1000)
        const answer = await send(await signPut(key), body, { [name]: value })
        // Where the store does not mind, the link was signed for less than it says.
        if (!answer.ok) expect(await storage.head(key)).toBeNull()
        if (!answer.ok) expect((await send(await signPut(key), body)).status).toBe(200)
        // Completing the upload refuses these.
        if (answer.ok && store.unguarded?.includes(name)) return
        await storage.put(plain, body, JPEG)
        const [found, expected] = [await storage.head(key), await storage.head(plain)]
        expect(found).toMatchObject({ size: 1000, contentEncoding: null, ordinaryClass: true })
        if (name === 'x-minio-source-etag') expect(found?.etag).not.toContain(value)
        expect({ ...found, etag: '' }).toEqual({ ...expected, etag: '' } as never)
        const [listed] = await storage.list({ prefix: key, limit: 1 })
        expect(Math.abs((listed?.lastModified.getTime() ?? 0) - Date.now())).toBeLessThan(3_600_000)
        const said = await fetch(absolute(await storage.signGet(key, GET)))
        for (const header of ['content-encoding', 'x-amz-tagging-count', 'x-amz-website-redirect-location'])
          expect([header, said.headers.get(header) || null]).toEqual([header, null])
        expect(same(await said.bytes(), body)).toBe(true)
        if (name === 'x-amz-acl') expect((await fetch(said.url.replace(/\?.*/, ''))).ok).toBe(false)
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
  })
}

const GET = {
  from: new Date(),
  expiresIn: 60,
  contentType: 'image/png',
  disposition: 'inline; filename="a.png"',
  cacheControl: 'private, max-age=7',
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

function without(headers: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
}
