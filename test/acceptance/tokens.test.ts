import { afterAll, expect, test } from 'bun:test'
import { exportJWK, exportSPKI, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import { answered, expectProblem, JWT_SECRET, newUser, tokenFor, until } from '../support/http/client.ts'
import { openRawConnection } from '../support/http/raw-connection.ts'
import { openStage } from '../support/process/acceptance.ts'
import { freePort } from '../support/process/port.ts'

const KID = 'of the auth service'
const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
const other = await generateKeyPair('RS256')
const jwk = { ...(await exportJWK(publicKey)), kid: KID, alg: 'RS256' }
const asked: string[] = []
const authService = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch({ url }) {
    asked.push(new URL(url).pathname)
    return Response.json({ keys: [jwk] })
  },
})
const AUTH_JWKS_URL = new URL('/jwks.json', authService.url).href
const { baseUrl, call, close } = await openStage({ AUTH_JWKS_URL, AUTH_ISSUER: 'us', AUTH_AUDIENCE: 'media' })
afterAll(async () => {
  await close()
  await authService.stop(true)
})

const soon = () => Math.floor(Date.now() / 1000) + 300
const claims = () => ({ sub: newUser(), iss: 'us', aud: 'media', exp: soon() })
const encode = (json: unknown) => Buffer.from(JSON.stringify(json)).toString('base64url')

type Forgery = { payload?: Record<string, unknown>; header?: Record<string, unknown>; key?: CryptoKey | Uint8Array }
const signed = ({ payload = {}, header = {}, key = privateKey }: Forgery = {}) =>
  new SignJWT({ ...claims(), ...payload })
    .setProtectedHeader({ alg: 'RS256', kid: KID, ...header })
    .sign(key, { crit: { new: true } })
/** The same private key, to sign with another algorithm. */
const keyFor = async (alg: string) => importJWK({ ...(await exportJWK(privateKey)), alg } satisfies JWK)
const withSecret = (secret: string, header: Record<string, unknown> = {}) =>
  new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', ...header }).sign(new TextEncoder().encode(secret))
const evil = new URL('/evil.json', authService.url).href

test.each([
  ['a key of the auth service', () => signed()],
  ['the shared secret', () => withSecret(JWT_SECRET)],
  ['one audience of several', () => signed({ payload: { aud: ['shop', 'media'] } })],
])('a token with %s is believed', async (_, token) => {
  await answered(200, await call('/media', { headers: { authorization: `Bearer ${await token()}` } }))
})

test.each<[string, () => Promise<string> | string]>([
  ['no signature', () => `${encode({ alg: 'none' })}.${encode(claims())}.`],
  ['no signature, spelt otherwise', () => `${encode({ alg: 'nOnE' })}.${encode(claims())}.`],
  ['the public key as PEM for its secret', async () => withSecret(await exportSPKI(publicKey), { kid: KID })],
  ['the public key as JWK for its secret', () => withSecret(JSON.stringify(jwk), { kid: KID })],
  ['another secret', () => withSecret(`${JWT_SECRET}!`)],
  ['a key nobody knows', () => signed({ key: other.privateKey })],
  ['a kid nobody knows', () => signed({ header: { kid: 'made up' } })],
  [
    'an algorithm that its key is not for',
    async () => signed({ header: { alg: 'PS256' }, key: await keyFor('PS256') }),
  ],
  ['a time that is over', () => signed({ payload: { exp: soon() - 600 } })],
  ['a time that has not come', () => signed({ payload: { nbf: soon() } })],
  ['no end', () => signed({ payload: { exp: undefined } })],
  ['an end that is no number', () => signed({ payload: { exp: 'never' } })],
  ['another issuer', () => signed({ payload: { iss: 'them' } })],
  ['another audience', () => signed({ payload: { aud: ['shop', 'mediaa'] } })],
  ['no audience', () => signed({ payload: { aud: undefined } })],
  ['a sub that is no UUID', () => signed({ payload: { sub: 'admin' } })],
  ['a header that is critical and that nobody understands', () => signed({ header: { crit: ['new'], new: 1 } })],
  ['its own key', async () => signed({ header: { jwk: await exportJWK(other.publicKey) }, key: other.privateKey })],
  ['an address of its own key', () => signed({ header: { jku: evil, x5u: evil }, key: other.privateKey })],
  ['ten thousand characters', () => `${encode({ alg: 'RS256', kid: KID })}.${'A'.repeat(10_000)}.AAAA`],
  ['no text in it', () => '%%%.***.---'],
  ['nothing but dots', () => '..'],
])('a token with %s is refused', async (_, token) => {
  const answer = await call('/media', { headers: { authorization: `Bearer ${await token()}` } })
  await expectProblem(answer, 401, 'token_invalid')
  expect(asked).not.toContain('/evil.json')
})

test('two Authorization headers are one too many, whichever of them is good', async () => {
  const good = await tokenFor(newUser(), { iss: 'us', aud: 'media' })
  for (const tokens of [[good], [good, good], [good, 'a.b.c'], ['a.b.c', good]]) {
    const lines = tokens.map((token) => `Authorization: Bearer ${token}\r\n`).join('')
    const connection = await openRawConnection(baseUrl)
    await connection.send(`GET /media HTTP/1.1\r\nHost: media\r\n${lines}\r\n`)
    const { status, headers } = await connection.answer()
    connection.destroy()
    expect([tokens.length, status]).toEqual([tokens.length, tokens.length === 1 ? 200 : 401])
    if (status === 401) expect(headers.get('www-authenticate')).toContain('error="invalid_token"')
  }
})

test('the service starts without its auth service, follows it when it comes, and knows its keys when it goes', async () => {
  const port = await freePort()
  const stage = await openStage({ AUTH_JWKS_URL: `http://127.0.0.1:${port}/jwks.json`, AUTH_JWT_SECRET: '' })
  try {
    const ask = (token: string) => stage.call('/media', { headers: { authorization: `Bearer ${token}` } })
    const token = await signed()
    await expectProblem(await ask(token), 503, 'auth_unavailable')
    expect(stage.service.logs()).toContain('the keys of the auth service cannot be fetched')
    // With keys to go by, no secret is made up: none is believed, and no token is printed.
    await expectProblem(await ask(await withSecret(JWT_SECRET)), 401, 'token_invalid')
    await expectProblem(await ask('a.b.c'), 401, 'token_invalid')

    const late = Bun.serve({ port, hostname: '127.0.0.1', fetch: () => Response.json({ keys: [jwk] }) })
    await until(async () => answered(200, await ask(token)))
    await late.stop(true)
    await answered(200, await ask(await signed()))
    expect(stage.service.logs()).not.toContain('development token')
  } finally {
    await stage.close()
  }
})
