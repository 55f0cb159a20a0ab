import { expect, test } from 'bun:test'
import { type Presign, presign } from '../../src/storage/sigv4.ts'

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
