import { expect, test } from 'bun:test'
import { createLog } from '../src/log.ts'

const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl'

function logged(write: (log: ReturnType<typeof createLog>) => void): string {
  let lines = ''
  write(
    createLog({
      level: 'info',
      output: {
        write(line) {
          lines += line
        },
      },
    }),
  )
  return lines
}

test.each([
  ['a token in a message', (log) => log.warn(`bad: ${TOKEN}`), 'eyJ'],
  ['a token that is cut short', (log) => log.warn('bad: eyJhbGciOiJIUzI1NiJ9.'), 'eyJ'],
  ['a header of a request', (log) => log.warn({ err: failure({ authorization: 'Bearer opaque' }) }, 'x'), 'opaque'],
  ['a secret with quotes in it', (log) => log.warn({ headers: { 'x-gateway-secret': 'a"bc"d' } }, 'x'), 'bc'],
  ['a link into an S3 store', (log) => log.warn({ url: 'http://s/b/k?X-Amz-Signature=0a1b2c&x=1' }, 'x'), '0a1b2c'],
  [
    'a link into the disk store',
    (log) => log.error({ err: new Error('GET /files/k?signature=0a1b2c') }, 'x'),
    '0a1b2c',
  ],
  [
    'the password of a URL',
    (log) => log.warn({ err: failure({ input: 'postgres://u:hunter2@db/m' }) }, 'x'),
    'hunter2',
  ],
  [
    'the signature that S3 repeats',
    (log) => log.warn({ err: new Error('403 <Error><SignatureProvided>0a1b2c</SignatureProvided>') }, 'x'),
    '0a1b2c',
  ],
  [
    'the session token that S3 repeats',
    (log) => log.warn({ err: new Error('400 <Token-0>FwoGZXIv/+=</Token-0>') }, 'x'),
    'FwoG',
  ],
  [
    'what the SDK makes of them',
    (log) => log.warn({ err: Object.assign(new Error('x'), { SignatureProvided: 'FwoG', 'Token-0': 'FwoG' }) }, 'x'),
    'FwoG',
  ],
  ['the cause of an error', (log) => log.warn({ err: new Error('a', { cause: new Error(TOKEN) }) }, 'x'), 'eyJ'],
] as [string, (log: ReturnType<typeof createLog>) => void, string][])(
  '%s is not logged, and the line is still JSON',
  (_, write, secret) => {
    const line = logged(write)
    expect(line).not.toContain(secret)
    expect(JSON.parse(line)).toMatchObject({ msg: expect.any(String) })
  },
)

test('nothing below its level is written', () => {
  const lines: string[] = []
  const log = createLog({ level: 'warn', output: { write: (line) => lines.push(line) } })
  log.info('no')
  log.warn('yes')
  expect(lines.map((line) => JSON.parse(line).msg)).toEqual(['yes'])
})

test('a value that is no secret is logged as it is', () => {
  const line = logged((log) => log.info({ url: 'http://127.0.0.1:9000/media?x=1', id: 'a:b@c' }, 'storage: signature'))
  expect(JSON.parse(line)).toMatchObject({
    url: 'http://127.0.0.1:9000/media?x=1',
    id: 'a:b@c',
    msg: 'storage: signature',
  })
})

function failure(properties: Record<string, unknown>): Error {
  return Object.assign(new Error('it failed'), { $response: { request: properties } })
}
