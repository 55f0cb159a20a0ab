import { afterAll, describe, expect, test } from 'bun:test'
import { answered, newUser, tokenFor } from '../support/http/client.ts'
import { openStage } from '../support/process/acceptance.ts'
import { exchange, type WireRequest } from './exchange.ts'
import { attempt } from './fuzz.ts'

const stage = await openStage({ RATE_LIMIT_PER_MINUTE: '0' })
afterAll(stage.close)

const user = newUser()
const authorization = `Bearer ${await tokenFor(user)}`

describe('findings of the fuzzer', () => {
  test('a Host that is none is 400, wherever it goes', async () => {
    for (const target of ['/media', '/health/live', '/nowhere']) {
      for (const host of ['a:b', 'a b', '%', '[::1']) {
        const answer = await exchange(stage.baseUrl, request({ target, host }))
        expect(answer === 'closed' ? answer : answer.status).toBe(400)
      }
    }
  })

  test('a content type with an empty parameter is as good as one without (RFC 9110, section 5.6.6)', async () => {
    const headers = { 'content-type': 'application/json;' }
    const body = '{"filename":"a.jpg","fileType":"image/jpeg"}'
    const response = await stage.call('/media/presign', { as: user, method: 'POST', headers, body })
    expect(response.status).toBe(200)
  })
})

describe('a request that is made to be expensive costs less than two seconds of CPU:', () => {
  const form = (pieces: string[], type = 'multipart/form-data; boundary=b') =>
    request({ method: 'POST', target: '/media/upload', type, body: Buffer.from(pieces.join('')) })
  const json = (body: string, target = '/media/presign') =>
    request({ method: 'POST', target, type: 'application/json', body: Buffer.from(body) })
  const part = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'

  test.each<[string, WireRequest]>([
    ['100,000 parts', form([part.repeat(100_000), '--b--'])],
    ['a part header of 5 MB', form(['--b\r\nX: ', 'x'.repeat(5_000_000), '\r\n\r\n\r\n--b--'])],
    ['a million folded lines', form(['--b\r\nX: x\r\n', ' \r\n'.repeat(1_000_000), '\r\n--b--'])],
    ['what nearly is a boundary, 5 MB of it', form(['--b\r\n\r\n', '\r\n-'.repeat(1_700_000)])],
    ['5 MB of boundaries without line ends', form(['--b'.repeat(1_700_000)])],
    ['a file name of 5 MB', form([`${part.slice(0, -4)}; filename="`, '\\"'.repeat(2_500_000), '"\r\n\r\n--b--'])],
    [
      'a name of 8 KB of percent signs',
      form([`--b\r\nContent-Disposition: form-data; name*=UTF-8''`, '%'.repeat(8000)]),
    ],
    ['a boundary after much white space', form([], `multipart/form-data;${' '.repeat(7000)}boundary=`)],
    ['a thousand boundaries', form([], `multipart/form-data${'; boundary='.repeat(500)}`)],
    ['JSON 60 KB deep', json('['.repeat(60_000))],
    ['JSON that nests 30 KB and closes', json(`{"a":${'['.repeat(15_000)}${']'.repeat(15_000)}}`)],
    ['a number of 60,000 digits', json(`{"size":${'9'.repeat(60_000)}}`)],
    ['6,000 unknown fields', json(`{${Array.from({ length: 6000 }, (_, i) => `"${i}":0`).join()}}`)],
    ['a JSON body of 20 MB', json(' '.repeat(20_000_000))],
    ['a type that nearly matches', request({ target: `/media?type=image/${'a.+-'.repeat(1700)}!` })],
    ['7 KB of ids', request({ target: `/media?ids=${','.repeat(7000)}` })],
    ['a token of 10,000 characters', request({ authorization: `Bearer ${'a.'.repeat(5000)}` })],
    ['2,000 ranges', request({ target: '/files/x', headers: [['range', `bytes=${'0-,'.repeat(2000)}`]] })],
    ['an id of 7 KB', request({ target: `/media/${'%2e'.repeat(2300)}` })],
    ['a header of 1 MB', request({ headers: [['x-request-id', 'a'.repeat(1_000_000)]] })],
    ['50,000 headers', request({ headers: Array.from({ length: 50_000 }, () => ['x-a', 'a']) })],
  ])('%s', async (_, sent) => {
    const status = await attempt(stage.service, sent)
    // Of a head that is too large the runtime says so by itself, or ends the connection.
    if (status !== 'closed') expect(Number(status)).toBeWithin(400, 500)
    await answered(200, await stage.call('/health/live'))
  })
})

function request(changed: {
  method?: string
  target?: string
  host?: string
  type?: string
  authorization?: string
  headers?: [string, string][]
  body?: Uint8Array
}): WireRequest {
  const { method = 'GET', target = '/media', host = 'localhost', type, headers = [], body = new Uint8Array() } = changed
  const typed: [string, string][] = type === undefined ? [] : [['content-type', type]]
  const known: [string, string] = ['authorization', changed.authorization ?? authorization]
  return { method, target, headers: [['host', host], known, ...typed, ...headers], body, framing: 'length' }
}
