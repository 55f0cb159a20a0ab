import { afterAll, afterEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { prepareBucket } from '../../src/storage/s3/bucket.ts'
import type { S3Settings } from '../../src/storage/s3/settings.ts'
import type { StoreTraits } from '../../src/storage/s3/signing.ts'
import { createS3Storage } from '../../src/storage/s3/storage.ts'
import { removeBucket } from '../support/services/buckets.ts'
import { haveServices } from '../support/services/shared.ts'
import { s3Config } from '../support/services/stores.ts'

const TRAITS: StoreTraits = {
  ...{ guardCopies: true, guards: [], storageClass: '', enforces: { once: true, checksum: true, whole: true } },
  ...{ multiDelete: true, crc32: true, brokenParts: 'refused' },
}
const KEY = 'media/019ab1c2-7c5e-7d52-b54b-3f7c1f0e6a11/original.jpg'
const UNAVAILABLE = { code: 'storage_unavailable', kind: 'outage' }
const put = { expiresIn: 60, contentType: 'image/jpeg', size: undefined, sha256: undefined }

describe.skipIf(!(await haveServices()))('the bucket', () => {
  const buckets: string[] = []
  afterEach(async () => {
    for (const bucket of buckets.splice(0)) await removeBucket(bucket)
  })
  const newConfig = async (): Promise<S3Settings> => {
    const config = await s3Config()
    buckets.push(config.bucket)
    return config
  }

  test('is made when it is missing, by several replicas at the same time, and left as it is afterwards', async () => {
    const config = await newConfig()
    await Promise.all(Array.from({ length: 5 }, () => prepareBucket(config)))
    const storage = createS3Storage(config, TRAITS)
    await storage.put(KEY, randomBytes(5), { contentType: 'image/jpeg' })
    await prepareBucket(config)
    expect((await storage.head(KEY))?.size).toBe(5)
    storage.close()
  })

  test('that may not be used ends the start with the setting that is wrong', async () => {
    const config = await newConfig()
    const { accessKeyId = '', secretAccessKey = '' } = config.credentials ?? {}
    const start = (credentials: { accessKeyId: string; secretAccessKey: string }) =>
      prepareBucket({ ...config, credentials }).catch((error) => `${error.name}: ${error.message.split(' (')[0]}`)
    expect(await start({ accessKeyId: 'nobody', secretAccessKey })).toBe(
      'StoreUnfit: AWS_ACCESS_KEY_ID: the store does not know this access key',
    )
    expect(await start({ accessKeyId, secretAccessKey: 'nothing-to-know' })).toStartWith(
      'StoreUnfit: AWS_SECRET_ACCESS_KEY: not the secret of this access key',
    )
  })

  test('that cannot be reached is an outage', async () => {
    const config = { ...(await newConfig()), endpoint: 'http://127.0.0.1:9' }
    await expect(prepareBucket(config)).rejects.toMatchObject(UNAVAILABLE)
  })

  test('is reached by links under the name that browsers know, and by the service under its own', async () => {
    const config = await newConfig()
    await prepareBucket(config)
    const port = new URL(config.endpoint ?? '').port
    const storage = createS3Storage({ ...config, publicEndpoint: `http://localhost:${port}` }, TRAITS)
    const { url, headers } = await storage.signPut(KEY, put)
    expect(new URL(url).host).toBe(`localhost:${port}`)
    expect((await fetch(url, { method: 'PUT', headers, body: randomBytes(7) })).status).toBe(200)
    expect((await storage.head(KEY))?.size).toBe(7)
    const answered = { contentType: 'image/jpeg', disposition: 'inline', cacheControl: 'private' }
    const link = await storage.signGet(KEY, { from: new Date(), expiresIn: 60, ...answered })
    expect(new URL(link).host).toBe(`localhost:${port}`)
    expect((await fetch(link)).status).toBe(200)
    storage.close()
  })
})

test.skipIf(!(await haveServices()))('what an uploader calls packed is read as it is stored', async () => {
  const config = await s3Config()
  try {
    const { enforces } = await prepareBucket(config)
    const storage = createS3Storage(config, { ...TRAITS, enforces })
    const packed = Bun.gzipSync(new Uint8Array(1024 * 1024))
    const { url, headers } = await storage.signPut(KEY, put)
    const answer = await fetch(url, {
      method: 'PUT',
      headers: { ...headers, 'content-encoding': 'gzip' },
      body: packed,
    })
    expect(answer.status).toBe(200)
    expect(await storage.head(KEY)).toMatchObject({ size: packed.length, contentEncoding: 'gzip' })
    const { bytes: beginning, ...said } = (await storage.peek(KEY, { length: 100 })) ?? { bytes: new Uint8Array() }
    expect(said).toMatchObject({ size: packed.length, contentEncoding: 'gzip', contentType: 'image/jpeg' })
    expect(Buffer.from(beginning).equals(packed.subarray(0, 100))).toBe(true)
    const bytes = await storage.read(KEY, { start: 0, length: 1024 * 1024 })
    expect(Buffer.from(bytes).equals(packed)).toBe(true)
    storage.close()
  } finally {
    await removeBucket(config.bucket)
  }
})

describe('a range of an S3 store', () => {
  /** What is read of a store that answers so. */
  async function readFrom(answer: (request: Request) => Response): Promise<string> {
    const store = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: answer })
    try {
      return await readAt(`http://127.0.0.1:${store.port}`)
    } finally {
      await store.stop(true)
    }
  }

  async function readAt(endpoint: string): Promise<string> {
    const credentials = { accessKeyId: 'somebody', secretAccessKey: 'something' }
    const place = { endpoint, publicEndpoint: endpoint, region: 'us-east-1', bucket: 'media', forcePathStyle: true }
    const storage = createS3Storage({ ...place, credentials }, TRAITS)
    try {
      return Buffer.from(await storage.read(KEY, { start: 2, length: 5 })).toString()
    } finally {
      storage.close()
    }
  }

  test('is what was asked for', async () => {
    expect(await readFrom(({ headers }) => new Response(headers.get('range'), { status: 206 }))).toBe('bytes=2-6')
    expect(await readFrom(() => new Response('first', { status: 206 }))).toBe('first')
  })

  test('behind the end is empty; of a store that does not know ranges it is an outage, however long the answer', async () => {
    expect(await readFrom(() => new Response('<Error/>', { status: 416 }))).toBe('')
    for (const body of ['first', 'a'.repeat(10_000_000)])
      expect(await readFrom(() => new Response(body)).catch(({ code }) => code)).toBe('storage_unavailable')
    const redirects = () => new Response(null, { status: 307, headers: { location: 'http://127.0.0.1:1/' } })
    expect(await readFrom(redirects).catch(({ code }) => code)).toBe('storage_unavailable')
  })

  test('is read again when the connection breaks in the middle', async () => {
    let asked = 0
    const store = createServer((_, answer) => {
      asked += 1
      answer.writeHead(206, { 'content-length': '5' })
      if (asked > 1) answer.end('first')
      else answer.write('fi', () => answer.destroy())
    })
    await once(store.listen(0, '127.0.0.1'), 'listening')
    const address = store.address()
    const port = typeof address === 'object' && address !== null ? address.port : expect.unreachable()
    expect(await readAt(`http://127.0.0.1:${port}`)).toBe('first')
    expect(asked).toBe(2)
    store.close()
  })
})

describe('peek at an S3 store that', () => {
  type Peeked = Awaited<ReturnType<ReturnType<typeof createS3Storage>['peek']>>

  /** What peek makes of a store that answers so. */
  async function peekAt(answers: Record<'GET' | 'HEAD', () => Response>): Promise<Peeked> {
    const store = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: ({ method }) => answers[method === 'HEAD' ? 'HEAD' : 'GET'](),
    })
    const endpoint = `http://127.0.0.1:${store.port}`
    const credentials = { accessKeyId: 'somebody', secretAccessKey: 'something' }
    const place = { endpoint, publicEndpoint: endpoint, region: 'us-east-1', bucket: 'media', forcePathStyle: true }
    const storage = createS3Storage({ ...place, credentials }, TRAITS)
    try {
      return await storage.peek(KEY, { length: 5 })
    } finally {
      storage.close()
      await store.stop(true)
    }
  }
  const part = (contentRange: Record<string, string>, body = 'first') => ({
    HEAD: () => new Response(null, { status: 500 }),
    GET: () =>
      new Response(body, { status: 206, headers: { 'content-type': 'image/jpeg', etag: '"1"', ...contentRange } }),
  })
  const head = (size: number) => () =>
    new Response(null, { headers: { 'content-length': String(size), 'content-type': 'image/jpeg', etag: '"1"' } })
  const refused = (contentRange: Record<string, string>) => () =>
    new Response('<Error><Code>InvalidRange</Code></Error>', { status: 416, headers: contentRange })

  test('sends the range takes the size of the whole object', async () => {
    const peeked = await peekAt(part({ 'content-range': 'bytes 0-4/3000000000' }))
    expect(peeked).toMatchObject({ size: 3_000_000_000, etag: '"1"', contentType: 'image/jpeg', contentEncoding: null })
    expect(Buffer.from(peeked?.bytes ?? []).toString()).toBe('first')
  })

  test('sends a content encoding and storage class returns both', async () => {
    const said = {
      'content-range': 'bytes 0-4/5',
      'content-encoding': 'aws-chunked',
      'x-amz-storage-class': 'GLACIER_IR',
    }
    expect(await peekAt(part(said))).toMatchObject({ contentEncoding: 'aws-chunked', ordinaryClass: false })
  })

  test.each([
    ['no range', {}, 'first'],
    ['a range of an unknown whole', { 'content-range': 'bytes 0-4/*' }, 'first'],
    ['another range', { 'content-range': 'bytes 5-9/10' }, 'first'],
    ['more bytes than it sends', { 'content-range': 'bytes 0-4/10' }, 'fir'],
    ['fewer bytes than it sends', { 'content-range': 'bytes 0-2/3' }, 'first'],
  ])('tells %s, the answer says nothing of the object', async (_, said, body) => {
    await expect(peekAt(part(said, body))).rejects.toMatchObject(UNAVAILABLE)
  })

  test('sends an endless object for a range is unavailable, and no more than the range is read', async () => {
    let sent = 0
    const ended = Promise.withResolvers<void>()
    const piece = new Uint8Array(64 * 1024)
    const store = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch() {
        const body = new ReadableStream({
          // It never ends of itself.
          async pull(controller) {
            sent += 1
            controller.enqueue(piece)
            await Bun.sleep(0)
          },
          cancel: () => ended.resolve(),
        })
        return new Response(body, { headers: { 'content-type': 'image/jpeg', etag: '"1"' } })
      },
    })
    const endpoint = `http://127.0.0.1:${store.port}`
    const credentials = { accessKeyId: 'somebody', secretAccessKey: 'something' }
    const place = { endpoint, publicEndpoint: endpoint, region: 'us-east-1', bucket: 'media', forcePathStyle: true }
    const storage = createS3Storage({ ...place, credentials }, TRAITS)
    try {
      await expect(storage.peek(KEY, { length: 5 })).rejects.toMatchObject(UNAVAILABLE)
      await ended.promise
      await expect(storage.read(KEY, { start: 5, length: 5 })).rejects.toMatchObject(UNAVAILABLE)
      // What the connections held besides.
      expect(sent * piece.length).toBeLessThan(64 * 1024 * 1024)
    } finally {
      storage.close()
      await store.stop(true)
    }
  }, 15_000)

  test('sends the whole object for a range is unavailable', async () => {
    const all = { HEAD: head(5), GET: () => new Response('first') }
    await expect(peekAt(all)).rejects.toMatchObject(UNAVAILABLE)
  })

  test.each([{ 'content-range': 'bytes */0' }, {}])(
    'has no range in an empty object (%j), its head counts',
    async (said) => {
      const peeked = await peekAt({ HEAD: head(0), GET: refused(said) })
      expect(peeked).toMatchObject({ size: 0, etag: '"1"', contentType: 'image/jpeg' })
      expect(peeked?.bytes.length).toBe(0)
    },
  )

  test('gives an empty object whole, its head counts', async () => {
    expect(await peekAt({ HEAD: head(0), GET: () => new Response('') })).toMatchObject({ size: 0 })
  })

  test('refuses the range though there are bytes, the answer says nothing of the object', async () => {
    await expect(peekAt({ HEAD: head(7), GET: refused({}) })).rejects.toMatchObject(UNAVAILABLE)
  })

  test('loses an empty object meanwhile, there is none', async () => {
    const gone = () => new Response(null, { status: 404 })
    expect(await peekAt({ HEAD: gone, GET: refused({}) })).toBeNull()
  })
})

describe('an S3 store that does not answer', () => {
  const silent = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  afterAll(() => silent.stop(true))
  const config: S3Settings = {
    endpoint: `http://127.0.0.1:${silent.port}`,
    publicEndpoint: 'http://store.test',
    region: 'us-east-1',
    bucket: 'media',
    forcePathStyle: true,
    credentials: { accessKeyId: 'somebody', secretAccessKey: 'something' },
  }
  const storage = createS3Storage(config, TRAITS)
  afterAll(() => storage.close())

  test('is waited for no longer than the caller wants', async () => {
    const start = performance.now()
    for (const call of [
      (signal: AbortSignal) => storage.put(KEY, randomBytes(5), { contentType: 'image/jpeg', signal }),
      (signal: AbortSignal) => storage.head(KEY, { signal }),
      (signal: AbortSignal) => storage.peek(KEY, { length: 5, signal }),
      (signal: AbortSignal) => storage.read(KEY, { start: 0, length: 5, signal }),
      (signal: AbortSignal) => storage.list({ prefix: 'media/', limit: 5, signal }),
      (signal: AbortSignal) => storage.remove([KEY], { signal }),
      (signal: AbortSignal) => storage.removePrefix('media/', { signal }),
      (signal: AbortSignal) => storage.abortUploads(KEY, { signal }),
      (signal: AbortSignal) => storage.check({ signal }),
    ]) {
      await expect(call(AbortSignal.timeout(50))).rejects.toMatchObject(UNAVAILABLE)
    }
    expect(performance.now() - start).toBeLessThan(4000)
  })

  test('is not needed to sign links', async () => {
    const { url } = await storage.signPut(KEY, put)
    expect(url).toStartWith('http://store.test/media/')
  })
})
