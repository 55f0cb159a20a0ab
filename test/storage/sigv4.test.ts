import { expect, test } from 'bun:test'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { awsEndpoint } from '../../src/storage/s3/client.ts'
import { type Presign, presign } from '../../src/storage/s3/sigv4.ts'

const example: Presign = {
  method: 'GET',
  url: new URL('https://examplebucket.s3.amazonaws.com/test.txt'),
  query: {},
  headers: {},
  region: 'us-east-1',
  credentials: { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' },
  at: new Date('2013-05-24T00:00:00Z'),
  expiresIn: 86_400,
}

const signatureOf = (some: Partial<Presign>) =>
  new URL(presign({ ...example, ...some })).searchParams.get('X-Amz-Signature')

test('a link is signed as in the example of the AWS documentation', () => {
  // https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
  expect(signatureOf({})).toBe('aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404')
})

test('everything that a link is for changes its signature', () => {
  const others: Partial<Presign>[] = [
    { method: 'PUT' },
    { url: new URL('https://examplebucket.s3.amazonaws.com/test.txs') },
    { url: new URL('https://examplebucket.s3.amazonaws.com:444/test.txt') },
    { query: { 'response-content-type': 'text/plain' } },
    { headers: { 'content-type': 'text/plain' } },
    { region: 'eu-west-1' },
    { at: new Date('2013-05-25T00:00:00Z') },
    { at: new Date('2013-05-24T00:00:01Z') },
    { expiresIn: 86_399 },
    { credentials: { ...example.credentials, secretAccessKey: 'another' } },
    { credentials: { ...example.credentials, sessionToken: 'token' } },
  ]
  const signatures = [{}, ...others].map(signatureOf)
  expect(new Set(signatures).size).toBe(signatures.length)
})

test('a link names the headers that must be sent, in order, and keeps any text in its query', () => {
  const disposition = `inline; filename="ä b+c'(1)*.jpg"`
  const { searchParams, search } = new URL(
    presign({ ...example, headers: { 'if-none-match': '*', 'content-type': 'a/b' }, query: { disposition } }),
  )
  expect(searchParams.get('X-Amz-SignedHeaders')).toBe('content-type;host;if-none-match')
  expect(searchParams.get('disposition')).toBe(disposition)
  expect(search).not.toMatch(/['()*+]/)
})

const client = new S3Client({
  region: 'eu-west-1',
  endpoint: 'https://store.example',
  forcePathStyle: true,
  credentials: { ...example.credentials, sessionToken: 'a token/of=AWS' },
  requestChecksumCalculation: 'WHEN_REQUIRED',
})
const target = { Bucket: 'media', Key: 'media/0190f6a2/original.jpg' }
const signingDate = new Date('2026-11-23T01:02:03Z')

test.each([
  [
    'GET',
    new GetObjectCommand({ ...target, ResponseContentDisposition: `attachment; filename*=UTF-8''%C3%A4!'()*.jpg` }),
    {},
  ],
  [
    'PUT',
    new PutObjectCommand({ ...target, ContentType: 'image/jpeg', ContentLength: 1234, IfNoneMatch: '*' }),
    { 'content-type': 'image/jpeg', 'content-length': '1234', 'if-none-match': '*' },
  ],
] as const)('a %s is signed as the SDK signs it', async (method, command, headers) => {
  const signableHeaders = new Set(['host', ...Object.keys(headers)])
  const theirs = new URL(
    await getSignedUrl(client, command, {
      expiresIn: 900,
      signingDate,
      signableHeaders,
      unhoistableHeaders: signableHeaders,
    }),
  )
  // What the SDK says beyond the protocol is part of the request, for us as for it.
  const own = /^X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Security-Token|Signature)$/
  const query = Object.fromEntries([...theirs.searchParams].filter(([name]) => !own.test(name)))
  const ours = new URL(
    presign({
      method,
      url: new URL(`https://store.example/media/${target.Key}`),
      query,
      headers,
      region: 'eu-west-1',
      credentials: await client.config.credentials(),
      at: signingDate,
      expiresIn: 900,
    }),
  )
  expect(Object.fromEntries(ours.searchParams)).toEqual(Object.fromEntries(theirs.searchParams))
})

test('AWS is reached at the host of the partition that the region is in', () => {
  const hosts = ['eu-west-1', 'cn-north-1', 'us-gov-west-1'].map((region) => awsEndpoint(region))
  expect(hosts).toEqual([
    'https://s3.eu-west-1.amazonaws.com',
    'https://s3.cn-north-1.amazonaws.com.cn',
    'https://s3.us-gov-west-1.amazonaws.com',
  ])
})
