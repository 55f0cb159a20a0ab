import { afterEach, describe, expect, setSystemTime, test } from 'bun:test'
import { type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { type AuthSettings, createAuthenticate } from '../../src/auth/auth.ts'
import { developmentToken } from '../../src/auth/development.ts'
import { DEFAULT_AUTH } from '../support/http/authentication.ts'
import { refusal } from '../support/http/refusal.ts'

const SECRET = 'a secret of thirty-two characters'
const GATEWAY = 'another secret of a trusted gateway'
const ID = '0190f6a2-7c5e-4d52-b54b-3f7c1f0e6a11'
const now = () => Math.floor(Date.now() / 1000)

const settings: AuthSettings = { ...DEFAULT_AUTH, jwtSecrets: [SECRET], gatewaySecrets: [GATEWAY] }

type Signed = { payload?: JWTPayload; secret?: string; alg?: string }

function sign({ payload = {}, secret = SECRET, alg = 'HS256' }: Signed): Promise<string> {
  const claims = { sub: ID, exp: now() + 60, ...payload }
  return new SignJWT(claims).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret))
}

const ask = (headers: Record<string, string>, some: Partial<AuthSettings> = {}) =>
  createAuthenticate({ ...settings, ...some })(new Headers(headers))
const bearer = async (signed: Signed, some: Partial<AuthSettings> = {}) =>
  ask({ authorization: `Bearer ${await sign(signed)}` }, some)
afterEach(() => setSystemTime())
const INVALID = { code: 'token_invalid', kind: 'unauthenticated' }

test('nobody is known without credentials', async () => {
  expect(await ask({})).toBeNull()
  expect(await ask({ 'x-user-id': ID, 'x-user-role': 'service' })).toBeNull()
})

describe('a bearer token', () => {
  test('names the caller', async () => {
    expect(await bearer({})).toEqual({ userId: ID, role: 'user', expires: expect.any(Number) })
    expect(await bearer({ payload: { role: 'service' } })).toEqual({
      userId: ID,
      role: 'service',
      expires: expect.any(Number),
    })
    expect(await bearer({ payload: { sub: ID.toUpperCase() } })).toEqual({
      userId: ID,
      role: 'user',
      expires: expect.any(Number),
    })
  })

  test.each([
    { role: 'admin' },
    { role: ['Service', 'services'] },
    { role: [['service']] },
    { role: true },
    { role: 'Service' },
  ])('with %j is a user, since other services have roles of their own', async (payload) => {
    expect((await bearer({ payload }))?.role).toBe('user')
  })

  test('may be as much out of date as clocks differ, and not more', async () => {
    expect(await bearer({ payload: { exp: now() - 2 } })).toMatchObject({ userId: ID })
    expect(await refusal(bearer({ payload: { exp: now() - 10 } }))).toMatchObject({
      ...INVALID,
      message: 'The token has expired.',
    })
    expect(await refusal(bearer({ payload: { nbf: now() + 60 } }))).toMatchObject(INVALID)
  })

  test.each([
    ['no exp', { payload: { exp: undefined } }],
    ['no sub', { payload: { sub: undefined } }],
    ['a sub that is no UUID', { payload: { sub: 'admin' } }],
    ['another secret', { secret: `${SECRET}!` }],
  ] as [string, Signed][])('with %s is refused', async (_, signed) => {
    expect(await refusal(bearer(signed))).toMatchObject(INVALID)
  })

  test('with another algorithm of the same secret is refused', async () => {
    const secret = SECRET.repeat(2)
    expect(await bearer({ secret }, { jwtSecrets: [secret] })).toMatchObject({ userId: ID })
    expect(await refusal(bearer({ secret, alg: 'HS512' }, { jwtSecrets: [secret] }))).toMatchObject(INVALID)
  })

  test('without a signature is refused', async () => {
    const token = new UnsecuredJWT({ sub: ID, exp: now() + 60 }).encode()
    expect(await refusal(ask({ authorization: `Bearer ${token}` }))).toMatchObject(INVALID)
  })

  test('with a changed claim is refused', async () => {
    const [header, , signature] = (await sign({})).split('.')
    const forged = Buffer.from(JSON.stringify({ sub: ID, exp: now() + 60, role: 'service' })).toString('base64url')
    const authorization = `Bearer ${[header, forged, signature].join('.')}`
    expect(await refusal(ask({ authorization }))).toMatchObject(INVALID)
  })

  test('needs the issuer and audience that are set, and any will do where none is', async () => {
    const payload = { iss: 'https://auth.example', aud: ['media', 'shop'] }
    const both = { issuer: payload.iss, audience: 'media' }
    expect(await bearer({ payload }, both)).toMatchObject({ userId: ID })
    expect(await bearer({ payload })).toMatchObject({ userId: ID })
    expect(await refusal(bearer({ payload: { ...payload, iss: 'https://other.example' } }, both))).toMatchObject(
      INVALID,
    )
    expect(await refusal(bearer({ payload: { ...payload, aud: 'shop' } }, both))).toMatchObject(INVALID)
    expect(await refusal(bearer({}, both))).toMatchObject(INVALID)
  })

  test.each([
    '',
    'Bearer',
    'Bearer ',
    'Basic dXNlcjpwdw==',
    'Bearer a b',
    'Bearer abc',
    `Bearer ${'x'.repeat(9000)}`,
    'token',
  ])('that is none (%j) is refused', async (authorization) => {
    expect(await refusal(ask({ authorization }))).toMatchObject(INVALID)
  })

  test('that was found good once is so again for as long as it is valid', async () => {
    const authenticate = createAuthenticate(settings)
    const answerTo = (token: string) => authenticate(new Headers({ authorization: `Bearer ${token}` }))
    const token = await sign({ payload: { role: 'service' } })
    for (let i = 0; i < 3; i++)
      expect(await answerTo(token)).toEqual({ userId: ID, role: 'service', expires: expect.any(Number) })
    setSystemTime(new Date(Date.now() + 62_000))
    expect(await answerTo(token)).toEqual({ userId: ID, role: 'service', expires: expect.any(Number) })
    setSystemTime(new Date(Date.now() + 5000))
    expect(await refusal(answerTo(token))).toMatchObject({ ...INVALID, message: 'The token has expired.' })
  })

  test('that was found good vouches for no other, and its signature cannot be left out or changed', async () => {
    const authenticate = createAuthenticate(settings)
    const answerTo = (token: string) => authenticate(new Headers({ authorization: `Bearer ${token}` }))
    const token = await sign({})
    await answerTo(token)
    const [header, payload, signature = ''] = token.split('.')
    const others = [`${header}.${payload}.`, `${header}.${payload}.${signature.slice(0, -2)}`, `${token}A`]
    for (const other of others) expect(await refusal(answerTo(other))).toMatchObject(INVALID)
  })

  test('is understood whatever the case of its scheme', async () => {
    expect(await ask({ authorization: `bEARER  ${await sign({})} ` })).toMatchObject({ userId: ID })
  })

  test('is good under either of two secrets while one takes the place of the other, and under no third', async () => {
    const next = 'the secret that takes its place soon'
    for (const jwtSecrets of [
      [SECRET, next],
      [next, SECRET],
    ] as const) {
      for (const secret of [SECRET, next]) {
        expect(await bearer({ secret }, { jwtSecrets })).toMatchObject({ userId: ID })
        const late = bearer({ secret, payload: { exp: now() - 10 } }, { jwtSecrets })
        expect(await refusal(late)).toMatchObject({ ...INVALID, message: 'The token has expired.' })
        const elsewhere = bearer({ secret, payload: { aud: 'shop' } }, { jwtSecrets, audience: 'media' })
        expect(await refusal(elsewhere)).toMatchObject(INVALID)
      }
      for (const secret of [`${SECRET},${next}`, `${SECRET}!`])
        expect(await refusal(bearer({ secret }, { jwtSecrets }))).toMatchObject(INVALID)
    }
  })

  test('names the caller by the claim of the settings, and then its sub counts for nothing', async () => {
    const other = crypto.randomUUID()
    const claims = { user: 'app_metadata.id', role: 'role' }
    expect(await bearer({ payload: { app_metadata: { id: other } } }, { claims })).toMatchObject({ userId: other })
    expect(await bearer({ payload: { sub: 'admin', app_metadata: { id: other } } }, { claims })).toMatchObject({
      userId: other,
    })
    for (const payload of [{}, { app_metadata: { id: [other] } }, { app_metadata: { id: 7 } }, { app_metadata: other }])
      expect(await refusal(bearer({ payload }, { claims }))).toMatchObject({
        ...INVALID,
        message: expect.stringContaining('app_metadata.id'),
      })
  })

  test('is refused where no secret for tokens is set', async () => {
    expect(await refusal(bearer({}, { jwtSecrets: undefined }))).toMatchObject(INVALID)
  })
})

describe('the headers of a gateway', () => {
  const headers = { 'x-gateway-secret': GATEWAY, 'x-user-id': ID }

  test('name the caller', async () => {
    expect(await ask(headers)).toEqual({ userId: ID, role: 'user' })
    expect(await ask({ ...headers, 'x-user-role': 'service' })).toEqual({ userId: ID, role: 'service' })
    expect(await ask({ ...headers, 'x-user-role': 'admin' })).toEqual({ userId: ID, role: 'user' })
  })

  test.each(['', `${GATEWAY}!`, GATEWAY.slice(1), GATEWAY.toUpperCase()])(
    'with the secret %j are refused',
    async (wrong) => {
      expect(await refusal(ask({ ...headers, 'x-gateway-secret': wrong }))).toMatchObject(INVALID)
    },
  )

  test('are trusted with either of two secrets while one takes the place of the other', async () => {
    const next = 'what the gateway sends from tomorrow on'
    for (const secret of [GATEWAY, next])
      expect(await ask({ ...headers, 'x-gateway-secret': secret }, { gatewaySecrets: [GATEWAY, next] })).toMatchObject({
        userId: ID,
      })
    for (const secret of [`${GATEWAY},${next}`, '', ','])
      expect(
        await refusal(ask({ ...headers, 'x-gateway-secret': secret }, { gatewaySecrets: [GATEWAY, next] })),
      ).toMatchObject(INVALID)
  })

  test('are those of the settings, and then the usual ones count for nothing', async () => {
    const names = { headers: { user: 'X-Auth-Request-User', role: 'Remote-Role' } }
    const other = crypto.randomUUID()
    const all = { ...headers, 'x-user-role': 'service', 'x-auth-request-user': other }
    expect(await ask(all, names)).toEqual({ userId: other, role: 'user' })
    expect(await ask({ ...all, 'remote-role': 'service' }, names)).toEqual({ userId: other, role: 'service' })
    expect(await refusal(ask(headers, names))).toMatchObject(INVALID)
  })

  test('are refused where no gateway is trusted, also with an empty secret', async () => {
    for (const secret of [GATEWAY, ''])
      expect(
        await refusal(ask({ ...headers, 'x-gateway-secret': secret }, { gatewaySecrets: undefined })),
      ).toMatchObject(INVALID)
  })

  test('are refused without a user, or with one that is no UUID', async () => {
    expect(await refusal(ask({ 'x-gateway-secret': GATEWAY }))).toMatchObject(INVALID)
    expect(await refusal(ask({ ...headers, 'x-user-id': 'root' }))).toMatchObject(INVALID)
  })

  test('count for nothing beside a bearer token, be it good or bad', async () => {
    const other = crypto.randomUUID()
    const authorization = `Bearer ${await sign({ payload: { sub: other } })}`
    expect(await ask({ ...headers, 'x-user-role': 'service', authorization })).toEqual({
      userId: other,
      role: 'user',
      expires: expect.any(Number),
    })
    expect(await refusal(ask({ ...headers, authorization: 'Bearer bad' }))).toMatchObject(INVALID)
  })
})

test('the development token is one of a user, and of this secret only', async () => {
  const authorization = `Bearer ${await developmentToken(SECRET)}`
  expect(await ask({ authorization })).toMatchObject({ role: 'user' })
  expect(await refusal(ask({ authorization }, { jwtSecrets: [`${SECRET}!`] }))).toMatchObject(INVALID)
})
