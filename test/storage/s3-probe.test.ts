import { afterEach, describe, expect, test } from 'bun:test'
import { prepareBucket } from '../../src/storage/s3/bucket.ts'
import type { S3Settings } from '../../src/storage/s3/settings.ts'
import {
  type Alteration,
  keepsHalves,
  startAlteredStore,
  withoutDeleteObjects,
} from '../support/services/altered-store.ts'
import { leftIn, removeBucket } from '../support/services/buckets.ts'
import { haveServices } from '../support/services/shared.ts'
import { s3Config } from '../support/services/stores.ts'

const isPart = (path: string) => path.includes('partNumber=')
const denied = (code: string) => ({ status: 403, body: `<Error><Code>${code}</Code><Message>No.</Message></Error>` })

describe.skipIf(!(await haveServices()))('the probe at start', () => {
  const ends: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })
  /** Settings for a new bucket at the shared store, behind a proxy that alters it. */
  async function altered(alteration: Alteration): Promise<S3Settings & { left: () => Promise<string[]> }> {
    const config = await s3Config()
    ends.push(() => removeBucket(config.bucket))
    const { endpoint, begun, stop } = await startAlteredStore(alteration)
    ends.push(stop)
    return { ...config, endpoint, publicEndpoint: endpoint, left: () => leftIn(config.bucket, begun) }
  }
  test('finds nothing against a store as it should be, and leaves nothing behind', async () => {
    const config = await altered({})
    expect(await prepareBucket(config)).toMatchObject({
      ...{ findings: [], brokenParts: 'refused', multiDelete: true, crc32: true },
      enforces: { once: true, checksum: true, whole: true },
    })
    expect(await config.left()).toEqual([])
  }, 20_000)

  test('finds a store without DeleteObjects, and leaves nothing behind there either', async () => {
    const config = await altered({ answer: withoutDeleteObjects })
    expect(await prepareBucket(config)).toMatchObject({ multiDelete: false })
    expect(await config.left()).toEqual([])
  }, 20_000)

  test('finds a store that keeps half a part as a whole one, unless it has a checksum', async () => {
    const config = await altered({ fills: ({ path }) => isPart(path) })
    expect(await prepareBucket(config)).toMatchObject({ brokenParts: 'unless-checked' })
    expect(await config.left()).toEqual([])
  }, 20_000)

  test('finds a store that keeps half an object', async () => {
    const config = await altered({ fills: ({ path }) => path.includes('/half?') })
    expect(await prepareBucket(config)).toMatchObject({ enforces: { once: true, checksum: true, whole: false } })
    expect(await config.left()).toEqual([])
  }, 20_000)

  test.each([
    ['ignores a CRC32', '/wrong-crc32', 200],
    ['refuses the header', '/crc32', 400],
  ])('finds a store that %s', async (_, name, status) => {
    const config = await altered({
      answer: ({ method, path }) => (method === 'PUT' && path.includes(name) ? { status, body: '' } : undefined),
    })
    expect(await prepareBucket(config)).toMatchObject({ crc32: false })
  })

  test('finds a store that keeps half a part whatever checksum it has', async () => {
    const config = await altered({ answer: keepsHalves })
    expect(await prepareBucket(config)).toMatchObject({ brokenParts: 'kept' })
  }, 20_000)

  test('finds a store where anybody may read, or write, or send more, or where all of it has one cause', async () => {
    const opened = async (forges: boolean) => {
      const config = await altered({
        answer({ method, path }) {
          const [place = '', query = ''] = path.split('?')
          if (!place.includes('/media/') || (method !== 'GET' && method !== 'PUT')) return undefined
          if (query === '' && (method === 'GET' || place.endsWith('/unsigned'))) return { status: 200, body: '' }
          if (place.endsWith('/longer')) return { status: 200, body: '' }
          return forges && method === 'GET' && place.endsWith('/source') ? { status: 200, body: '' } : undefined
        },
      })
      return (await prepareBucket(config)).findings.map(({ setting, problem }) => `${setting}: ${problem}`)
    }
    expect(await opened(false)).toEqual([
      'S3_BUCKET: anybody can read private originals under media/ without a signature',
      'S3_BUCKET: anybody can write under media/ without a signature',
      'S3_ENDPOINT: upload links accept more bytes than they were signed for',
    ])
    expect(await opened(true)).toEqual([
      'S3_ENDPOINT: the store does not check signatures, so anybody can read and write everything',
    ])
  }, 20_000)

  test('asks the CDN for a public object, and for a private one', async () => {
    const config = await altered({})
    const answers = { public: 200, media: 403 }
    const bodies = { public: 'probe', media: 'probe' }
    const cdn = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch({ url }) {
        const place = url.includes('/cdn/public/') ? 'public' : 'media'
        return new Response(bodies[place], { status: answers[place] })
      },
    })
    ends.push(() => cdn.stop(true))
    const judged = async (cdnBaseUrl = `${cdn.url.origin}/cdn`) => {
      const { findings } = await prepareBucket(config, { cdnBaseUrl })
      return findings.map(({ severity, setting, problem }) => `${severity}: ${setting}: ${problem}`)
    }
    expect(await judged()).toEqual([])
    answers.media = 200
    expect(await judged()).toEqual(['wrong: CDN_BASE_URL: private originals under media/ can be read there by anybody'])
    bodies.media = '<h1>Not found</h1>'
    expect(await judged()).toEqual([])
    Object.assign(answers, { public: 403, media: 404 })
    expect(await judged()).toEqual([
      'wrong: CDN_BASE_URL: a public object is not served there (403): public/ of the bucket is closed to the CDN',
    ])
    answers.public = 503
    const unknown = (why: string) =>
      `unknown: CDN_BASE_URL: not reachable from here (${why}): whether public/ is served is unknown`
    expect(await judged()).toEqual([unknown('503')])
    Object.assign(answers, { public: 200 })
    bodies.public = '<h1>Are you a robot?</h1>'
    expect(await judged()).toEqual([unknown('another body')])
    expect(await judged('http://127.0.0.1:9')).toEqual([unknown('no answer')])
    expect(await config.left()).toEqual([])
  }, 20_000)

  test.each([
    ['GET', /list-type/, 'ListObjectsV2: 403: s3:ListBucket is needed'],
    ['PUT', /\/source/, 'PutObject: 403: s3:PutObject is needed'],
    ['HEAD', /\/source/, 'HeadObject: 403: s3:GetObject is needed'],
    ['PUT', /\/copy\?/, 'CopyObject: 403: s3:GetObject with s3:PutObject is needed'],
    ['GET', /[?&]uploads/, 'ListMultipartUploads: 403: s3:ListBucketMultipartUploads is needed'],
    ['GET', /uploadId=/, 'ListParts: 403: s3:ListMultipartUploadParts is needed'],
    ['DELETE', /uploadId=/, 'AbortMultipartUpload: 403: s3:AbortMultipartUpload is needed'],
  ])(
    'says which right is missing when %s %p is denied, and leaves no object behind',
    async (method, path, sentence) => {
      const config = await altered({
        answer: (asked) => (asked.method === method && path.test(asked.path) ? denied('AccessDenied') : undefined),
      })
      await expect(prepareBucket(config)).rejects.toMatchObject({
        name: 'StoreUnfit',
        message: `S3_BUCKET: ${config.bucket}: ${sentence}; add it to the policy of the key`,
      })
      // The upload in parts stays where it cannot be aborted.
      if (!path.test('list-type')) expect(await leftIn(config.bucket, [])).toEqual([])
    },
    20_000,
  )

  test('says that the right to delete is missing', async () => {
    const config = await altered({
      answer: ({ method, path }) =>
        (method === 'DELETE' && !path.includes('uploadId')) || (method === 'POST' && /[?&]delete/.test(path))
          ? denied('AccessDenied')
          : undefined,
    })
    await expect(prepareBucket(config)).rejects.toMatchObject({
      message: `S3_BUCKET: ${config.bucket}: DeleteObject: 403: s3:DeleteObject is needed; add it to the policy of the key`,
    })
  }, 20_000)
})
