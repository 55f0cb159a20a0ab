import { afterAll, afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { v5 } from 'uuid'
import { answered, expectProblem, type MediaObject } from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openParts, openStage, runtime } from '../support/process/acceptance.ts'
import { startService } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'
import { triedPart } from '../support/tried.ts'

setDefaultTimeout(90_000)

const NAMESPACE = '6f1d3a52-8f0e-4c1b-9d57-2b3c4d5e6f70'
const GATEWAY_SECRET = 'what only the gateway and the service know'

type Signer = { privateKey: CryptoKey; jwk: JWK; alg: string }
async function signer(alg: string, kid?: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), alg, ...(kid && { kid }) }, alg }
}
const [rs, es, ed, nameless, nameless2] = await Promise.all([
  signer('RS256', 'rs'),
  signer('ES256', 'es'),
  signer('EdDSA', 'ed'),
  signer('RS256'),
  signer('RS256'),
])
/** Keys that cannot be imported: one has the id of one that can. */
const broken: JWK[] = [
  { kty: 'RSA', kid: 'rs', alg: 'RS256', n: '!', e: 'AQAB' },
  { kty: 'EC', crv: 'P-256K', kid: 'es', x: 'AA', y: 'AA' },
  { kty: 'oct', k: 'c2VjcmV0' },
  { kty: 'XYZ' },
]

/** One origin with an issuer under each path, as providers lay out theirs. */
const provider = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch(request) {
    const { pathname, origin } = new URL(request.url)
    if (pathname === '/keys')
      return Response.json({ keys: [...broken, rs.jwk, es.jwk, ed.jwk, nameless.jwk, nameless2.jwk] })
    const [, issuer, slash] = /^(.*?)(\/?)\.well-known\/openid-configuration$/.exec(pathname) ?? []
    if (issuer === undefined) return new Response('not here', { status: 404 })
    const path = `${issuer}${slash}`
    const told =
      path === '/elsewhere/' ? 'https://evil.example' : `${origin}${ISSUERS_WITH_SLASH.has(path) ? path : issuer}`
    const keys = path === '/nothing/' ? `${origin}/nothing-here` : `${origin}/keys`
    return Response.json({ issuer: told, jwks_uri: keys })
  },
})
const ISSUERS_WITH_SLASH = new Set(['/', '/auth0/'])
const origin = provider.url.origin
afterAll(() => provider.stop(true))

type Stage = Awaited<ReturnType<typeof openStage>>
const stages: Stage[] = []
afterEach(async () => {
  for (const stage of stages.splice(0)) await stage.close()
})
async function open(settings: Record<string, string>): Promise<Stage> {
  const stage = await openStage({ AUTH_JWT_SECRET: '', ...settings })
  stages.push(stage)
  return stage
}

const soon = () => Math.floor(Date.now() / 1000) + 300
function tokenOf({ privateKey, jwk, alg }: Signer, claims: Record<string, unknown>, kid = jwk.kid): Promise<string> {
  const header = { alg, ...(kid !== undefined && { kid }) }
  return new SignJWT({ exp: soon(), ...claims }).setProtectedHeader(header).sign(privateKey)
}
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })

async function uploaded(stage: Stage, headers: Record<string, string>): Promise<MediaObject> {
  const form = multipart([{ name: 'file', filename: 'a.jpg', content: await readCorpus('accept/rocket.jpg') }])
  const sent = { method: 'POST', body: form.body, headers: { ...form.headers, ...headers } }
  return answered<MediaObject>(201, await stage.call('/media/upload', sent))
}

describe('the tokens of', () => {
  const keycloak = { realm_access: { roles: ['offline_access', 'media-service'] }, azp: 'app', typ: 'Bearer' }
  const providers: [
    name: string,
    provider: { path: string; key: Signer; sub: string; settings?: Record<string, string>; service?: object },
  ][] = [
    [
      'Auth0',
      {
        ...{ path: '/auth0/', key: rs, sub: 'auth0|5f7c8ec7c33c6c004bbafe82' },
        settings: { ROLE_CLAIM: 'https://example.com/roles', SERVICE_ROLE: 'service' },
        service: { 'https://example.com/roles': ['service'] },
      },
    ],
    ['Clerk', { path: '/clerk', key: rs, sub: 'user_2NNEqL2nrIRdJ194ndJqAHwEfxC' }],
    ['Firebase', { path: '/securetoken/project', key: rs, sub: 'jNNS7iW0vVhGjuhXUQ0oqIlkUt82' }],
    [
      'Entra',
      {
        ...{ path: '/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0', key: rs },
        ...{
          sub: 'AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ',
          settings: { ROLE_CLAIM: 'roles', SERVICE_ROLE: 'Media.All' },
        },
        service: { roles: ['Media.All'] },
      },
    ],
    [
      'Keycloak',
      {
        ...{ path: '/realms/shop', key: es, sub: 'f:4c9d6ed3-f2ac-4cf6-9a4a-4f1d7a3e6b9c:bob@example.com' },
        settings: { ROLE_CLAIM: 'realm_access.roles', SERVICE_ROLE: 'media-service' },
        service: keycloak,
      },
    ],
    [
      'Cognito',
      {
        ...{ path: '/eu-west-1_abc', key: rs, sub: '44280438-90d1-0052-c8b6-49aa2b4c71d4' },
        settings: { ROLE_CLAIM: 'cognito:groups', SERVICE_ROLE: 'services' },
        service: { 'cognito:groups': ['services'], token_use: 'access' },
      },
    ],
    ['a provider with Ed25519', { path: '/ed', key: ed, sub: 'abc' }],
  ]
  test.each(providers)(
    '%s are believed with AUTH_ISSUER alone',
    async (name, { path, key, sub, settings = {}, service }) => {
      triedPart('identity', `tokens of the shape of ${name}`)
      const issuer = `${origin}${path}`
      const stage = await open({
        AUTH_ISSUER: issuer,
        AUTH_AUDIENCE: 'media',
        USER_ID_NAMESPACE: NAMESPACE,
        ...settings,
      })
      const claims = { iss: issuer, aud: ['media', 'account'] }
      const token = await tokenOf(key, { ...claims, sub })
      const { userId, id } = await uploaded(stage, bearer(token).headers)
      expect(userId).toBe(sub.startsWith('4428') ? sub : v5(sub, NAMESPACE))
      const other = await tokenOf(key, { ...claims, sub: `${sub}x` })
      await expectProblem(await stage.call(`/media/${id}`, bearer(other)), 404, 'not_found')
      const backend = await tokenOf(key, { ...claims, sub: 'client@clients', ...(service ?? { role: 'service' }) })
      expect((await stage.call(`/media/${id}`, bearer(backend))).status).toBe(200)
      for (const iss of [`${issuer}/`, issuer.replace(/\/$/, ''), 'https://evil.example'].filter(
        (iss) => iss !== issuer,
      ))
        await expectProblem(
          await stage.call('/media', bearer(await tokenOf(key, { ...claims, iss, sub }))),
          401,
          'token_invalid',
        )
      // What says who wrote it never leaves the token.
      expect(stage.service.logs()).not.toContain(sub.startsWith('4428') ? 'client@clients' : sub)
      await expectProblem(
        await stage.call(`/media?userId=${encodeURIComponent(sub)}`, { ...bearer(token), method: 'DELETE' }),
        403,
        'forbidden',
      )
      const erase = await stage.call(`/media?userId=${encodeURIComponent(sub)}`, {
        ...bearer(backend),
        method: 'DELETE',
      })
      await answered(202, erase)
      await expectProblem(await stage.call(`/media/${id}`, bearer(token)), 404, 'not_found')
    },
  )
})

describe('a key set', () => {
  test("may be named by an OpenID configuration's address, beside a gateway, and its keys have no ids", async () => {
    const stage = await open({
      ...{
        AUTH_JWKS_URL: `${origin}/realms/shop/.well-known/openid-configuration`,
        AUTH_ISSUER: `${origin}/realms/shop`,
      },
      ...{ USER_ID_NAMESPACE: NAMESPACE, GATEWAY_SECRET },
    })
    const claims = { iss: `${origin}/realms/shop`, sub: 'auth0|victim' }
    const { userId, id } = await uploaded(stage, bearer(await tokenOf(nameless2, claims)).headers)
    for (const token of [
      await tokenOf(nameless, claims),
      await tokenOf(nameless2, claims, 'made up'),
      await tokenOf(rs, claims),
      // Without an id in the token.
      await new SignJWT({ ...claims, exp: soon() }).setProtectedHeader({ alg: 'ES256' }).sign(es.privateKey),
    ])
      expect((await stage.call(`/media/${id}`, bearer(token))).status).toBe(200)
    const stranger = await signer('RS256')
    for (const kid of ['rs', undefined, 'made up'])
      await expectProblem(
        await stage.call('/media', bearer(await tokenOf(stranger, claims, kid))),
        401,
        'token_invalid',
      )

    const through = (name: string) => ({ 'x-gateway-secret': GATEWAY_SECRET, 'x-user-id': name })
    expect((await stage.call(`/media/${id}`, { headers: through('auth0|victim') })).status).toBe(200)
    // Somebody who is called what the victim's name is mapped to.
    expect(userId).toBe(v5('auth0|victim', NAMESPACE))
    const attacker = await tokenOf(rs, { ...claims, sub: userId })
    await expectProblem(await stage.call(`/media/${id}`, bearer(attacker)), 404, 'not_found')
    for (const name of [userId, userId.toUpperCase()])
      await expectProblem(await stage.call(`/media/${id}`, { headers: through(name) }), 404, 'not_found')
    const printed = Bun.spawnSync([process.execPath, '--no-env-file', 'src/cli/user-id.ts', 'auth0|victim'], {
      ...{ cwd: repository, env: { PATH: process.env.PATH, USER_ID_NAMESPACE: NAMESPACE } },
    })
    expect(printed.stdout.toString().trim()).toBe(userId)
  })

  test.each<[string, Record<string, string>, RegExp]>([
    [
      'of another issuer',
      { AUTH_ISSUER: `${origin}/elsewhere` },
      /AUTH_ISSUER: \S+ says that the issuer is "https:\/\/evil\.example", not/,
    ],
    [
      'of an issuer with a slash more',
      { AUTH_ISSUER: `${origin}/clerk/` },
      /AUTH_ISSUER: .*\/clerk", not ".*\/clerk\/"/,
    ],
    [
      'of an issuer with a slash less',
      { AUTH_ISSUER: `${origin}/auth0` },
      /AUTH_ISSUER: .*\/auth0\/", not ".*\/auth0"/,
    ],
    ['that is not there', { AUTH_ISSUER: `${origin}/nothing` }, /AUTH_ISSUER: \S+\/nothing-here answered 404/],
    ['that is a page', { AUTH_JWKS_URL: `${origin}/page` }, /AUTH_JWKS_URL: \S+\/page answered 404/],
    ['of an issuer that is no address', { AUTH_ISSUER: 'us' }, /AUTH_ISSUER: expected an http or https URL/],
    [
      'for names of no issuer',
      { AUTH_JWKS_URL: `${origin}/keys`, USER_ID_NAMESPACE: NAMESPACE },
      /AUTH_ISSUER: expected beside USER_ID_NAMESPACE/,
    ],
  ])('%s ends the start in a sentence', async (_, settings, sentence) => {
    const parts = await openParts()
    const failure = await startService({ runtime, env: { ...parts.env, ...settings } }).then(
      async (service) => `started: ${await service.stop()}`,
      (error: Error) => error.message,
    )
    await parts.remove()
    expect(failure).toMatch(sentence)
  })
})
