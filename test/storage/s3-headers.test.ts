import { afterAll, describe, expect, test } from 'bun:test'
import { prepareBucket } from '../../src/storage/s3/bucket.ts'
import type { S3Settings } from '../../src/storage/s3/settings.ts'
import { removeBucket } from '../support/services/buckets.ts'
import { haveServices } from '../support/services/shared.ts'
import { s3Config } from '../support/services/stores.ts'

describe.skipIf(!(await haveServices()))('MinIO', () => {
  test('takes headers that were not signed, and links can be signed against all of them', async () => {
    const config = await s3Config()
    try {
      const { guards, unguarded } = await prepareBucket(config)
      expect(unguarded).toEqual([])
      for (const name of ['content-encoding', 'x-amz-storage-class', 'x-amz-tagging', 'x-minio-source-etag'])
        expect(guards).toContain(name)
      expect(guards).toContain('x-minio-source-mtime')
      expect(guards).toContain('x-amz-object-lock-mode')
    } finally {
      await removeBucket(config.bucket)
    }
  })
})

/** What a store makes of a header that is not among the signed ones, and of one that is signed and not sent. */
type Behaviour = {
  takes: (name: string) => boolean
  signedButAbsent: (name: string) => 'refuses' | 'passes' | 'breaks'
}

const STRANGE =
  /^(content-encoding|x-amz-(acl|tagging|storage-class|server-side.*|website.*|object-lock.*)|x-minio-.*)$/
const BEGUN = '<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>'
const stops: (() => Promise<void>)[] = []
afterAll(async () => {
  for (const stop of stops) await stop()
})

/** As much of S3 as the probe needs; it believes every signature. */
function startStore({ takes, signedButAbsent }: Behaviour): S3Settings {
  const objects = new Map<string, Record<string, string>>()
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url)
      if (request.method === 'HEAD' && pathname.split('/').length <= 3) return new Response(null)
      const object = objects.get(pathname) ?? {}
      // As MinIO answers for what came with a key of the uploader's.
      const isLocked = object['x-amz-server-side-encryption'] !== undefined
      if (request.method === 'HEAD') return new Response(null, { headers: object, status: isLocked ? 400 : 200 })
      if (searchParams.has('list-type')) return new Response('<ListBucketResult></ListBucketResult>')
      if (searchParams.has('uploadId') || searchParams.has('uploads') || searchParams.has('delete'))
        return new Response(request.method === 'POST' ? BEGUN : '<Nothing></Nothing>')
      if (request.headers.has('x-amz-copy-source') && request.headers.has('authorization'))
        return new Response('<CopyObjectResult></CopyObjectResult>')
      if (request.method !== 'PUT') return new Response('<Error><Code>AccessDenied</Code></Error>', { status: 403 })
      const signed = new Set((searchParams.get('X-Amz-SignedHeaders') ?? '').split(';'))
      const sent = [...request.headers].filter(([name]) => STRANGE.test(name))
      const absent = [...signed].filter((name) => STRANGE.test(name) && !request.headers.has(name))
      const refused =
        sent.some(([name]) => signed.has(name) || (name.startsWith('x-amz-') && !takes(name))) ||
        absent.some((name) => signedButAbsent(name) === 'refuses') ||
        request.headers.has('x-amz-copy-source')
      if (refused) return new Response(null, { status: 403 })
      const kept = Object.fromEntries(sent.filter(([name]) => takes(name)))
      const tags = kept['x-amz-tagging'] !== undefined && { 'x-amz-tagging-count': '1' }
      const broken = absent.some((name) => signedButAbsent(name) === 'breaks')
      const mtime = kept['x-minio-source-mtime'] ?? new Date().toISOString()
      objects.set(pathname, {
        etag: `"${kept['x-minio-source-etag'] ?? (broken ? 'broken' : 'hash')}"`,
        'last-modified': new Date(mtime).toUTCString(),
        ...kept,
        ...tags,
      })
      return new Response(null)
    },
  })
  stops.push(() => server.stop(true))
  const endpoint = server.url.origin
  const credentials = { accessKeyId: 'somebody', secretAccessKey: 'something' }
  return { endpoint, publicEndpoint: endpoint, region: 'us-east-1', bucket: 'media', forcePathStyle: true, credentials }
}

test('a store that refuses unsigned headers, as AWS does, is asked for no guard; complete looks at the encoding', async () => {
  const store = startStore({ takes: (name) => name === 'content-encoding', signedButAbsent: () => 'refuses' })
  expect(await prepareBucket(store)).toMatchObject({ guards: [], unguarded: ['content-encoding'] })
})

test('links are signed against what a store takes, unless the store then keeps something else', async () => {
  const breaking = 'x-amz-tagging'
  const store = startStore({
    takes: () => true,
    signedButAbsent: (name) => (name === breaking ? 'breaks' : 'passes'),
  })
  const { guards, unguarded } = await prepareBucket(store)
  expect(unguarded).toEqual([breaking])
  expect(guards).toContain('content-encoding')
  expect(guards).toContain('x-amz-storage-class')
  expect(guards).toContain('x-amz-server-side-encryption')
  expect(guards).toContain('x-amz-object-lock-mode')
  expect(guards).not.toContain(breaking)
})

test('a store that takes nothing unsigned needs neither', async () => {
  const store = startStore({ takes: () => false, signedButAbsent: () => 'passes' })
  expect(await prepareBucket(store)).toMatchObject({ guards: [], unguarded: [] })
})
