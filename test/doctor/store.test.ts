import { describe, expect, test } from 'bun:test'
import { GetBucketCorsCommand, PutBucketCorsCommand, S3Client } from '@aws-sdk/client-s3'
import { closedUrl, expectOneLine, linesOf, rightSetUp, type WrongSetUp } from '../support/doctor.ts'
import { type Alteration, keepsHalves, startAlteredStore } from '../support/services/altered-store.ts'
import { findVersitygw, startVersitygw } from '../support/services/versitygw.ts'

const setUp = await rightSetUp()

describe.skipIf(!setUp.present)('the store', () => {
  const altered =
    (alteration: Alteration, setting = 'S3_ENDPOINT') =>
    async () => {
      const { endpoint, stop } = await startAlteredStore(alteration)
      setUp.ends.push(stop)
      return { [setting]: endpoint }
    }
  const answering = (status: number, to: (method: string, path: string) => boolean, body = '') =>
    altered({ answer: ({ method, path }) => (to(method, path) ? { status, body } : undefined) })
  const denied = '<Error><Code>AccessDenied</Code></Error>'
  const cdn = (status: Record<string, number>) => () => {
    const server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: ({ url }) => new Response('probe', { status: status[new URL(url).pathname.split('/')[1] ?? ''] ?? 404 }),
    })
    setUp.ends.push(() => server.stop(true))
    return { CDN_BASE_URL: server.url.origin }
  }

  test.each<WrongSetUp>([
    ['an unknown key', 'AWS_ACCESS_KEY_ID: the store does not know', () => ({ AWS_ACCESS_KEY_ID: 'nobody' })],
    ['a wrong secret', 'AWS_SECRET_ACCESS_KEY: not the secret', () => ({ AWS_SECRET_ACCESS_KEY: 'wrong' })],
    ['a closed port', 'S3_ENDPOINT: the store does not answer', async () => ({ S3_ENDPOINT: await closedUrl() })],
    [
      'a right too few',
      'CopyObject: 403: s3:GetObject with s3:PutObject is needed; add it to the policy',
      answering(403, (method, path) => method === 'PUT' && path.includes('/copy?'), denied),
    ],
    [
      'originals that anybody reads',
      'wrong store: S3_BUCKET: anybody can read private originals',
      answering(200, (method, path) => method === 'GET' && path.endsWith('/source'), 'probe'),
    ],
    [
      'no check of signatures',
      'S3_ENDPOINT: the store does not check signatures',
      answering(200, (method, path) => method === 'GET' && path.includes('/source'), 'probe'),
    ],
    ['half parts that it keeps', 'warning store: S3_ENDPOINT: the store keeps parts', altered({ answer: keepsHalves })],
    ['a CDN that shows all', 'wrong cdn: CDN_BASE_URL: private originals', cdn({ public: 200, media: 200 })],
    ['a CDN that shows nothing', 'wrong cdn: CDN_BASE_URL: a public object is', cdn({ public: 403, media: 403 })],
    [
      'a CDN out of reach',
      'unknown cdn: CDN_BASE_URL: not reachable from here',
      async () => ({ CDN_BASE_URL: await closedUrl() }),
    ],
    [
      'a public endpoint out of reach',
      'unknown store: S3_PUBLIC_ENDPOINT: ',
      async () => ({ S3_PUBLIC_ENDPOINT: await closedUrl() }),
    ],
    [
      'a public endpoint that changes the host name',
      'wrong store: S3_PUBLIC_ENDPOINT: an upload link is answered 403 there',
      altered(
        { rewrite: (asked) => ({ ...asked, headers: new Map([...asked.headers, ['host', 'elsewhere']]) }) },
        'S3_PUBLIC_ENDPOINT',
      ),
    ],
    [
      'a public endpoint that takes Range away',
      'warning store: S3_PUBLIC_ENDPOINT: a request for a range',
      altered(
        {
          rewrite: (asked) => ({ ...asked, headers: new Map([...asked.headers].filter(([name]) => name !== 'range')) }),
        },
        'S3_PUBLIC_ENDPOINT',
      ),
    ],
    [
      'an ETag that pages may not read',
      'warning store: CORS_ORIGINS: the store does not expose ETag, which uploads in parts need, to pages of https://app.',
      () => {
        const { S3_ENDPOINT = '' } = setUp.settings()
        const server = Bun.serve({
          hostname: '127.0.0.1',
          port: 0,
          async fetch(request) {
            const { pathname, search } = new URL(request.url)
            // With the host that was signed.
            const { method, headers } = request
            const body = method === 'PUT' ? await request.arrayBuffer() : null
            const answer = await fetch(S3_ENDPOINT + pathname + search, { method, headers, body })
            answer.headers.delete('access-control-expose-headers')
            return answer
          },
        })
        setUp.ends.push(() => server.stop(true))
        return { S3_PUBLIC_ENDPOINT: server.url.origin }
      },
    ],
    [
      'no answer to preflights',
      'warning store: CORS_ORIGINS: the store lets no uploads in from pages of https://app.example.com, https://www.ex',
      answering(403, (method) => method === 'OPTIONS'),
    ],
  ])('with %s is named by one line', async (_, line, env) => {
    await expectOneLine({ ...setUp.settings(), ...(await env()) }, line)
  })

  test('that has no CORS by bucket says so when it is to be mended', async () => {
    const env = { ...setUp.settings(), ...(await answering(403, (method) => method === 'OPTIONS')()) }
    await expectOneLine(env, 'the store did not take CORS by bucket (NotImplemented): set it at the store', {
      fix: true,
    })
  })

  test.skipIf(findVersitygw() === undefined)(
    'that has CORS by bucket is mended, and keeps its other rules',
    async () => {
      const { url, stop } = await startVersitygw(setUp.folder())
      setUp.ends.push(stop)
      const env = { ...setUp.settings(), S3_ENDPOINT: url }
      await expectOneLine(env, 'CORS_ORIGINS: the store lets no uploads in from pages of https://app.example.com')
      const one = { ...env, CORS_ORIGINS: 'https://app.example.com' }
      expect(await linesOf(one, { fix: true })).toEqual([])
      await expectOneLine(env, 'the store lets no uploads in from pages of https://www.example.com; ')
      expect(await linesOf(env, { fix: true })).toEqual([])
      expect(await linesOf(env)).toEqual([])

      const { AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '', S3_REGION = '', S3_BUCKET: Bucket } = setUp.settings()
      const credentials = { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY }
      const client = new S3Client({ endpoint: url, region: S3_REGION, credentials, forcePathStyle: true })
      setUp.ends.push(() => client.destroy())
      const rule = { ID: 'theirs', AllowedOrigins: ['*'], AllowedMethods: ['GET'] }
      await client.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules: [rule] } }))
      await expectOneLine(one, 'the store lets no uploads in from pages of https://app.example.com; ')
      expect(await linesOf(one, { fix: true })).toEqual([])
      const { CORSRules = [] } = await client.send(new GetBucketCorsCommand({ Bucket }))
      expect(CORSRules.map(({ ID }) => ID)).toEqual(['media-service', 'theirs'])
    },
  )
})
