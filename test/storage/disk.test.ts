import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Grant } from '../../src/storage/disk/links.ts'
import { createDiskStorage, type DiskStorage } from '../../src/storage/disk/storage.ts'
import { openDisk } from '../support/services/stores.ts'

const KEY = 'media/019ab1c2-7c5e-7d52-b54b-3f7c1f0e6a11/original.jpg'
const JPEG = { contentType: 'image/jpeg' }

let store: Awaited<ReturnType<typeof openDisk>>
let disk: DiskStorage
beforeEach(async () => {
  store = await openDisk()
  disk = store.storage
})
afterEach(() => store.close())

const grant = (bound: Partial<Grant> = {}): Grant => ({
  ...{ method: 'PUT', key: KEY, expires: 0, contentType: 'image/jpeg' },
  ...{ disposition: undefined, cacheControl: undefined, size: undefined, sha256: undefined },
  ...bound,
})

/** Every file in the store's folder. */
async function files(): Promise<string[]> {
  const entries = await readdir(store.root, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
}

describe('a body that the disk store receives', () => {
  test.each([
    { what: 'is shorter than granted', bound: { size: 10 }, body: [randomBytes(9)], code: 'size_mismatch' },
    {
      what: 'is longer than granted',
      bound: { size: 10 },
      body: [randomBytes(9), randomBytes(2)],
      code: 'size_mismatch',
    },
    {
      what: 'has another SHA-256',
      bound: { sha256: '0'.repeat(64) },
      body: [randomBytes(9)],
      code: 'checksum_mismatch',
    },
    { what: 'is larger than any object may be', bound: {}, body: forever(), code: 'file_too_large' },
    { what: 'breaks off', bound: {}, body: breakingOff(), code: 'storage_unavailable' },
  ])('leaves no file behind when it $what', async ({ bound, body, code }) => {
    await expect(disk.receive(grant(bound), body)).rejects.toMatchObject({ code })
    expect(await files()).toEqual([])
  })

  test('is not read further than it can be what was granted', async () => {
    let read = 0
    const body = (async function* () {
      for (;;) {
        read += 1
        yield randomBytes(10)
      }
    })()
    await expect(disk.receive(grant({ size: 25 }), body)).rejects.toMatchObject({ code: 'size_mismatch' })
    expect(read).toBe(3)
  })

  test('is not there before all of it is', async () => {
    const { promise: rest, resolve: sendRest } = Promise.withResolvers<Uint8Array>()
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    const receiving = disk.receive(
      grant(),
      (async function* () {
        yield randomBytes(10)
        begin()
        yield await rest
      })(),
    )
    await begun
    expect(await disk.head(KEY)).toBeNull()
    expect(await disk.list({ prefix: 'media/', limit: 10 })).toEqual([])
    sendRest(randomBytes(5))
    await receiving
    expect(await disk.head(KEY)).toMatchObject({ size: 15, contentType: 'image/jpeg' })
  })

  test('never takes the place of what is stored', async () => {
    await disk.put(KEY, new TextEncoder().encode('first'), JPEG)
    await expect(disk.receive(grant(), [randomBytes(9)])).rejects.toMatchObject({ code: 'precondition_failed' })
    expect(new TextDecoder().decode(await disk.read(KEY, { start: 0, length: 99 }))).toBe('first')
  })
})

test('the rest of a crash in incoming/ is removed at the next start, and objects stay', async () => {
  await disk.put(KEY, randomBytes(5), JPEG)
  const kept = await files()
  await writeFile(join(store.root, 'incoming', 'half'), randomBytes(100))
  await mkdir(join(store.root, 'incoming', 'folder'))
  const again = await createDiskStorage({ root: store.root, linkSecrets: ['x'], maxBytes: 1, now: Date.now })
  expect(await files()).toEqual(kept)
  expect(await again.head(KEY)).toMatchObject({ size: 5, contentType: 'image/jpeg' })
})

test('removing an object leaves nothing of it on the disk', async () => {
  await disk.put(KEY, randomBytes(5), JPEG)
  await disk.removePrefix(KEY.replace('original.jpg', ''))
  expect(await files()).toEqual([])
})

test.each([
  '../escape',
  '/etc/passwd',
  'media/../../escape',
  'media//x',
  'media/./x',
  'media/.hidden',
  'a\0b',
  '',
  'a\\b',
])('nothing is written under %j, which is no key', async (key) => {
  await expect(disk.put(key, randomBytes(5), JPEG)).rejects.toThrow()
  await expect(disk.receive(grant({ key }), [randomBytes(5)])).rejects.toThrow()
  expect(await files()).toEqual([])
})

test('bytes behind a link cannot run as a page of the service', async () => {
  await disk.put(KEY, new TextEncoder().encode('<script>alert(1)</script>'), JPEG)
  const headersOfLink = { contentType: 'text/html', disposition: 'inline', cacheControl: 'private' }
  const link = await disk.signGet(KEY, { from: new Date(), expiresIn: 60, ...headersOfLink })
  const { headers } = await fetch(new URL(link, store.origin))
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  expect(headers.get('content-security-policy')).toContain('sandbox')
})

/** Bytes without end. */
async function* forever(): AsyncGenerator<Uint8Array> {
  for (;;) yield new Uint8Array(8 * 1024 * 1024)
}

async function* breakingOff(): AsyncGenerator<Uint8Array> {
  yield randomBytes(1000)
  throw new Error('the client is gone')
}

// MinIO knows neither If-Range nor the size in a 416, so the contract of all stores leaves these out.
describe('a link to read on the disk store', () => {
  const answered = { contentType: 'image/jpeg', disposition: 'inline', cacheControl: 'private' }
  let link: URL
  beforeEach(async () => {
    await disk.put(KEY, randomBytes(1000), JPEG)
    link = new URL(await disk.signGet(KEY, { from: new Date(), expiresIn: 60, ...answered }), store.origin)
  })

  test('gives a range only of the bytes that the client began with', async () => {
    const etag = (await fetch(link)).headers.get('etag') ?? ''
    const range = { range: 'bytes=0-9' }
    expect((await fetch(link, { headers: { ...range, 'if-range': etag } })).status).toBe(206)
    const all = await fetch(link, { headers: { ...range, 'if-range': '"other"' } })
    expect([all.status, (await all.bytes()).length]).toEqual([200, 1000])
  })

  test('tells the size for a range outside the file, and serves the whole file for several ranges', async () => {
    const outside = await fetch(link, { headers: { range: 'bytes=1000-' } })
    expect([outside.status, outside.headers.get('content-range')]).toEqual([416, 'bytes */1000'])
    const several = await fetch(link, { headers: { range: 'bytes=0-1,5-6' } })
    expect([several.status, (await several.bytes()).length]).toEqual([200, 1000])
  })

  test('answers HEAD with the headers alone', async () => {
    const head = await fetch(link, { method: 'HEAD' })
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '1000', ''])
  })
})
