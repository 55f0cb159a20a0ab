import { afterAll, expect, test } from 'bun:test'
import { expectProblem, newUser, tokenFor } from '../support/http/client.ts'
import { expectNoSecrets } from '../support/http/secrets.ts'
import { backend, openStage } from '../support/process/acceptance.ts'

const GATEWAY_SECRET = 'what only the gateway and the service know'
const LINK_SECRET = 'what the links of the disk store are signed with'
const { call, uploaded, put, presigned, service, env, close } = await openStage({ GATEWAY_SECRET, LINK_SECRET })
// The service's output is searched when it ends, as that of every service of this suite.
afterAll(close)

test('credentials that are refused are not repeated, in the answer or in the log', async () => {
  const token = await tokenFor(newUser())
  const wrong: Record<string, string>[] = [
    { authorization: `Bearer ${token}x` },
    { authorization: `Bearer ${token.slice(0, -40)}` },
    { authorization: token },
    { authorization: `Basic ${token}` },
    { 'x-gateway-secret': `${GATEWAY_SECRET}x`, 'x-user-id': newUser() },
    { 'x-gateway-secret': GATEWAY_SECRET, 'x-user-id': token },
  ]
  for (const headers of wrong) {
    const problem = await expectProblem(await call('/media', { headers }), 401, 'token_invalid')
    expectNoSecrets(JSON.stringify(problem), env)
  }
  expectNoSecrets(service.logs(), env)
})

test('a link that is refused, or that finds nothing, leaves no signature in the log', async () => {
  const user = newUser()
  const link = await presigned(user)
  expect((await put(link, new Uint8Array(9), { 'content-type': 'text/html' })).status).toBe(403)
  const { id } = await uploaded(user)
  const content = await call(`/media/${id}/content`, { as: user })
  const href = content.headers.get('location') ?? ''
  expect((await fetch(href.replace(/signature=../i, '$&00'))).status).toBe(403)
  expectNoSecrets(service.logs(), env)
})

test('the OpenAPI document, health and metrics name no secret', async () => {
  for (const path of ['/openapi.json', '/health/live', '/health/ready', '/metrics', '/docs'])
    expectNoSecrets(await (await call(path)).text(), env)
})

test.each([
  ['a setting', () => `x ${GATEWAY_SECRET} x`],
  ['a token', async () => `x ${await tokenFor(newUser())}`],
  ['a signed link', () => 'GET /a?b=c&X-Amz-Signature=0a1b2c'],
  ...(backend === 'embedded'
    ? []
    : [
        ['the password of the database', () => `x ${new URL(env.DATABASE_URL ?? '').password} x`] as const,
        ['the password of Redis', () => `x ${new URL(env.REDIS_URL ?? '').password} x`] as const,
      ]),
])('%s in what a service wrote is found', async (_, write) => {
  const written = await write()
  expect(() => expectNoSecrets(written, env)).toThrow('what nobody may read')
})
