import { afterEach, beforeEach, describe, expect, setSystemTime, test } from 'bun:test'
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose'
import { createAuthenticate } from '../../src/auth/auth.ts'
import { createJwks } from '../../src/auth/jwks.ts'
import { until } from '../support/clock/until.ts'
import { DEFAULT_AUTH } from '../support/http/authentication.ts'
import { refusal } from '../support/http/refusal.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'

const ID = '0190f6a2-7c5e-4d52-b54b-3f7c1f0e6a11'
const SECRET = 'a secret of thirty-two characters'
const INVALID = { code: 'token_invalid', kind: 'unauthenticated' }
const UNAVAILABLE = { code: 'auth_unavailable', kind: 'outage' }

type Signer = { alg: string; kid: string; privateKey: CryptoKey; jwk: JWK; pem: string }

async function signer(kid: string, alg = 'ES256'): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { alg, kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg }, pem: await exportSPKI(publicKey) }
}

const first = await signer('first')
const second = await signer('second')
let published: unknown
let fetches = 0
let status = 200
let services = 0
const authService = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch({ url }) {
    // A service of an earlier test may still be asking.
    const [, asking] = /^\/(\d+)\/jwks.json$/.exec(new URL(url).pathname) ?? []
    if (asking === undefined || Number(asking) === services) fetches += 1
    return Response.json(published, { status })
  },
})

function token({ alg, kid, privateKey }: Signer, header: Record<string, unknown> = {}): Promise<string> {
  return new SignJWT({ sub: ID, exp: Math.floor(Date.now() / 1000) + 3600 })
    .setProtectedHeader({ alg, kid, ...header })
    .sign(privateKey)
}

/** A service that knows the auth service's address, and perhaps a shared secret. */
function service(jwtSecret?: string, { log } = createRecordingLog()) {
  services += 1
  const url = new URL(`/${services}/jwks.json`, authService.url).href
  const keys = createJwks({ address: { url }, log })
  const authenticate = createAuthenticate({
    ...DEFAULT_AUTH,
    jwtSecrets: jwtSecret === undefined ? undefined : [jwtSecret],
    keys,
  })
  return (bearer: string) => authenticate(new Headers({ authorization: `Bearer ${bearer}` }))
}

const later = (milliseconds: number) => setSystemTime(new Date(Date.now() + milliseconds))

beforeEach(() => {
  published = { keys: [first.jwk] }
  fetches = 0
  status = 200
})
afterEach(() => setSystemTime())

describe('the keys of an auth service', () => {
  test.each(['RS256', 'PS256', 'ES384', 'Ed25519'])('let tokens with %s in, fetched once for many', async (alg) => {
    const own = await signer('own', alg)
    published = { keys: [first.jwk, own.jwk] }
    const ask = service()
    const bearer = await token(own)
    for (let i = 0; i < 5; i++)
      expect(await ask(bearer)).toEqual({ userId: ID, role: 'user', expires: expect.any(Number) })
    expect(fetches).toBe(1)
  })

  test('are asked for at start; where that fails, the log says so, and tokens are 503 until they are there', async () => {
    status = 500
    const recording = createRecordingLog()
    const ask = service(undefined, recording)
    await until(() => recording.lines.some(({ msg }) => msg.includes('cannot be fetched')))
    status = 200
    expect(await refusal(ask(await token(first)))).toMatchObject(UNAVAILABLE)
    expect(fetches).toBe(1)
    later(6000)
    expect(await ask(await token(first))).toMatchObject({ userId: ID })
    expect(fetches).toBe(2)
  })

  test('are fetched once for all tokens that wait for them', async () => {
    const ask = service()
    const bearer = await token(first)
    const callers = await Promise.all(Array.from({ length: 20 }, () => ask(bearer)))
    expect(callers).toHaveLength(20)
    expect(fetches).toBe(1)
  })

  test('are followed when a new one appears, and no more often than the cooldown', async () => {
    const ask = service()
    await ask(await token(first))
    published = { keys: [second.jwk] }
    expect(await refusal(ask(await token(second)))).toMatchObject(INVALID)
    expect(fetches).toBe(1)
    later(11_000)
    expect(await ask(await token(second))).toMatchObject({ userId: ID })
    for (let i = 0; i < 20; i++)
      expect(await refusal(ask(await token({ ...first, kid: `made up ${i}` })))).toMatchObject(INVALID)
    expect(fetches).toBe(2)
  })

  test('are followed without ids too: a token that none of them signed fetches them anew, within the cooldown', async () => {
    const nameless = ({ jwk }: Signer) => ({ ...jwk, kid: undefined })
    published = { keys: [nameless(first)] }
    const ask = service()
    expect(await ask(await token(first))).toMatchObject({ userId: ID })
    published = { keys: [nameless(first), nameless(second)] }
    expect(await refusal(ask(await token(second)))).toMatchObject(INVALID)
    expect(fetches).toBe(1)
    later(11_000)
    expect(await ask(await token(second))).toMatchObject({ userId: ID })
    for (let i = 0; i < 20; i++)
      expect(await refusal(ask(await token({ ...(await signer('third')), kid: `made up ${i}` })))).toMatchObject(
        INVALID,
      )
    expect(fetches).toBe(2)
  })

  test('that cannot be imported are skipped, also beside one of the same id', async () => {
    const broken = [
      { kty: 'EC', crv: 'P-256', kid: 'first', alg: 'ES256', x: 'AA', y: 'AA' },
      { kty: 'XYZ', kid: 'first' },
      { ...first.jwk, use: 'enc' },
    ]
    published = { keys: [...broken, first.jwk] }
    expect(await service()(await token(first))).toMatchObject({ userId: ID })
    published = { keys: broken }
    expect(await refusal(service()(await token(first)))).toMatchObject(INVALID)
  })

  test('that are withdrawn stop working', async () => {
    const ask = service()
    await ask(await token(first))
    published = { keys: [second.jwk] }
    later(11 * 60_000)
    const bearer = await token(first)
    // The first to come finds out in the background.
    await ask(bearer)
    while (fetches < 2) await Bun.sleep(5)
    await Bun.sleep(20)
    expect(await refusal(ask(bearer))).toMatchObject(INVALID)
  })

  test.each([
    [
      'is down',
      () => {
        status = 503
      },
    ],
    [
      'answers nonsense',
      () => {
        published = 'nonsense'
      },
    ],
    [
      'answers keys that are none',
      () => {
        published = { keys: [null] }
      },
    ],
  ])(
    'go on working while the auth service %s; one that is not known is 503, without asking each time',
    async (_, fail) => {
      const ask = service()
      await ask(await token(first))
      fail()
      later(11 * 60_000)
      for (let i = 0; i < 3; i++) expect(await ask(await token(first))).toMatchObject({ userId: ID })
      for (let i = 0; i < 10; i++) expect(await refusal(ask(await token(second)))).toMatchObject(UNAVAILABLE)
      expect(fetches).toBe(2)
      published = { keys: [second.jwk] }
      status = 200
      later(6000)
      expect(await ask(await token(second))).toMatchObject({ userId: ID })
    },
  )
})

describe('a token that is not what it says', () => {
  test.each([
    ['the public key as PEM for a secret', (key: Signer) => key.pem],
    ['the public key as JWK for a secret', (key: Signer) => JSON.stringify(key.jwk)],
  ])('is refused: signed with %s', async (_, text) => {
    const forged = await new SignJWT({ sub: ID })
      .setExpirationTime('1h')
      .setProtectedHeader({ alg: 'HS256', kid: first.kid })
      .sign(new TextEncoder().encode(text(first)))
    for (const ask of [service(), service(SECRET)]) expect(await refusal(ask(forged))).toMatchObject(INVALID)
  })

  test('is refused: another key than its kid names', async () => {
    expect(await refusal(service()(await token({ ...second, kid: first.kid })))).toMatchObject(INVALID)
  })

  test('is refused: with the key it brings itself, which nobody fetches', async () => {
    const brought = { jwk: second.jwk, jku: new URL('/evil.json', authService.url).href, x5u: authService.url.href }
    const ask = service()
    await ask(await token(first))
    expect(await refusal(ask(await token({ ...second, kid: first.kid }, brought)))).toMatchObject(INVALID)
    expect(fetches).toBe(1)
  })

  test('is refused: a key that is too weak or of another kind', async () => {
    const weak = await crypto.subtle.generateKey(
      { name: 'RSASSA-PKCS1-v1_5', modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
      true,
      ['sign', 'verify'],
    )
    const jwk = { ...(await exportJWK(weak.publicKey)), kid: 'weak', alg: 'RS256' }
    published = { keys: [jwk, { kty: 'oct', k: 'c2VjcmV0', kid: 'oct' }, { kty: 'nonsense', kid: 'odd' }] }
    const encode = (json: unknown) => Buffer.from(JSON.stringify(json)).toString('base64url')
    const signed = `${encode({ alg: 'RS256', kid: 'weak' })}.${encode({ sub: ID, exp: 4e9 })}`
    const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', weak.privateKey, Buffer.from(signed))
    const ask = service()
    expect(await refusal(ask(`${signed}.${Buffer.from(signature).toString('base64url')}`))).toMatchObject(INVALID)
    for (const kid of ['oct', 'odd']) expect(await refusal(ask(await token({ ...first, kid })))).toMatchObject(INVALID)
  })

  test('with the shared secret is let in beside those with keys', async () => {
    const ask = service(SECRET)
    const shared = await new SignJWT({ sub: ID })
      .setExpirationTime('1h')
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(SECRET))
    expect(await ask(shared)).toMatchObject({ userId: ID })
    expect(await ask(await token(first))).toMatchObject({ userId: ID })
    expect(await refusal(service()(shared))).toMatchObject(INVALID)
  })
})
