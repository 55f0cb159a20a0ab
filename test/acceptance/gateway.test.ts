import { afterAll, describe, expect, test } from 'bun:test'
import {
  answered,
  createClient,
  expectBytes,
  expectProblem,
  type MediaObject,
  newUser,
  type Presigned,
  tokenFor,
} from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openStage, runtime } from '../support/process/acceptance.ts'
import { startService } from '../support/process/service.ts'

const GATEWAY_SECRET = 'what only the gateway and the service know'
const PUBLIC = 'https://media.example.test'
const PAGE = 'https://app.example.test'

const { baseUrl, call, inside, env, close } = await openStage({
  GATEWAY_SECRET,
  PUBLIC_BASE_URL: `${PUBLIC}/`,
  CORS_ORIGINS: `${PAGE}, https://other.example.test`,
  AUTH_ISSUER: 'https://login.example.test',
  AUTH_AUDIENCE: 'media',
})
afterAll(close)

const claims = { iss: 'https://login.example.test', aud: 'media' }
const rocket = await readCorpus('accept/rocket.jpg')
const through = (userId: string, role?: string) => ({
  'x-gateway-secret': GATEWAY_SECRET,
  'x-user-id': userId,
  ...(role !== undefined && { 'x-user-role': role }),
})

describe('a gateway with the right secret', () => {
  test('names the caller', async () => {
    const user = newUser()
    const object = await uploadThrough(user)
    expect(object.userId).toBe(user)
    expect((await call(`/media/${object.id}`, { headers: through(user, 'user') })).status).toBe(200)
    expect((await call(`/media/${object.id}`, { headers: through(user.toUpperCase()) })).status).toBe(200)
    await expectProblem(await call(`/media/${object.id}`, { headers: through(newUser()) }), 404, 'not_found')
  })

  test('names a service', async () => {
    const { id } = await uploadThrough(newUser())
    expect((await call(`/media/${id}`, { headers: through(newUser(), 'service') })).status).toBe(200)
    await expectProblem(await call(`/media/${id}`, { headers: through(newUser(), 'admin') }), 404, 'not_found')
  })

  test.each(['', 'admin', '1', `${crypto.randomUUID()}, ${crypto.randomUUID()}`])(
    'has to send a UUID as X-User-Id, not %p',
    async (userId) => {
      await expectProblem(await call('/media', { headers: through(userId) }), 401, 'token_invalid')
    },
  )

  test('has to send X-User-Id', async () => {
    const headers = { 'x-gateway-secret': GATEWAY_SECRET }
    await expectProblem(await call('/media', { headers }), 401, 'token_invalid')
  })
})

test.each(['wrong', '', `${GATEWAY_SECRET}x`, GATEWAY_SECRET.toUpperCase()])(
  'the gateway’s headers with the secret %p are 401 token_invalid',
  async (secret) => {
    const headers = { ...through(newUser()), 'x-gateway-secret': secret }
    await expectProblem(await call('/media', { headers }), 401, 'token_invalid')
  },
)

test('the gateway’s headers without the secret are no credentials', async () => {
  await expectProblem(await call('/media', { headers: { 'x-user-id': newUser() } }), 401, 'token_missing')
})

test('a replica with the next secrets, and with other names of claims and headers, goes on with what the others began', async () => {
  const [nextToken, nextGateway] = [
    'the secret of tokens from tomorrow on',
    'the secret of the gateway from tomorrow on',
  ]
  const replica = await startService({
    runtime,
    env: {
      ...env,
      AUTH_JWT_SECRET: `${nextToken},${env.AUTH_JWT_SECRET}`,
      GATEWAY_SECRET: `${nextGateway}, ${GATEWAY_SECRET}`,
      USER_ID_CLAIM: 'app.user',
      GATEWAY_USER_HEADER: 'X-Auth-Request-User',
      GATEWAY_ROLE_HEADER: 'X-Auth-Request-Role',
    },
  })
  try {
    const user = newUser()
    const object = await uploadThrough(user)
    const { call: ask } = createClient(replica.baseUrl)
    const status = async (headers: Record<string, string>) => (await ask(`/media/${object.id}`, { headers })).status
    const bearer = async (secret?: string) => {
      const token = await tokenFor(newUser(), { ...claims, app: { user } }, secret)
      return { authorization: `Bearer ${token}` }
    }
    expect(await status(await bearer())).toBe(200)
    expect(await status(await bearer(nextToken))).toBe(200)
    expect(await status(await bearer('the secret of tokens of somebody else'))).toBe(401)
    const by = (secret: string, more = {}) => ({
      ...through(newUser(), 'service'),
      ...{ 'x-gateway-secret': secret, 'x-auth-request-user': user },
      ...more,
    })
    expect(await status(by(GATEWAY_SECRET))).toBe(200)
    expect(await status(by(nextGateway))).toBe(200)
    expect(await status(by(nextGateway, { 'x-auth-request-user': newUser() }))).toBe(404)
    expect(await status(by(nextGateway, { 'x-auth-request-user': newUser(), 'x-auth-request-role': 'service' }))).toBe(
      200,
    )
    expect(await status(through(user))).toBe(401)

    // Signed under the secret that the replica has in second place.
    const { renditions } = await answered<{ renditions: { url: string }[] }>(
      200,
      await call(`/media/${object.id}?renditions=320`, { headers: through(user) }),
    )
    const link = (renditions[0]?.url ?? expect.unreachable()).replace(PUBLIC, '')
    expect((await ask(link)).status).toBe(302)
    expect((await ask(link.replace(/signature=./, 'signature=!'))).status).toBe(403)
  } finally {
    await replica.stop()
  }
})

describe('Authorization', () => {
  test('decides alone where it is there', async () => {
    const user = newUser()
    const { id } = await uploadThrough(user)
    const bearer = async (userId: string) => ({ authorization: `Bearer ${await tokenFor(userId, claims)}` })
    const others = { ...through(newUser(), 'service'), ...(await bearer(newUser())) }
    await expectProblem(await call(`/media/${id}`, { headers: others }), 404, 'not_found')
    const own = { ...through('nobody'), 'x-gateway-secret': 'wrong', ...(await bearer(user)) }
    expect((await call(`/media/${id}`, { headers: own })).status).toBe(200)
  })

  test('that is bad beats good headers of the gateway', async () => {
    for (const authorization of ['Bearer bad', 'Basic dTpw', `Bearer ${await tokenFor(newUser())}`]) {
      const headers = { ...through(newUser()), authorization }
      await expectProblem(await call('/media', { headers }), 401, 'token_invalid')
    }
  })

  test('has to name the issuer and the audience that are set', async () => {
    const status = async (changed: Record<string, unknown>) => {
      const authorization = `Bearer ${await tokenFor(newUser(), { ...claims, ...changed })}`
      return (await call('/media', { headers: { authorization } })).status
    }
    expect(await status({})).toBe(200)
    expect(await status({ aud: ['chat', 'media'] })).toBe(200)
    expect(await status({ iss: 'https://other.example.test' })).toBe(401)
    expect(await status({ aud: 'chat' })).toBe(401)
    expect(await status({ iss: undefined })).toBe(401)
    expect(await status({ aud: undefined })).toBe(401)
  })
})

describe('PUBLIC_BASE_URL', () => {
  test('is where every address leads that is stored, announced or handed out', async () => {
    const user = newUser()
    const headers = through(user)
    const sent = multipart([{ name: 'file', filename: 'a.jpg', content: rocket }])
    const response = await call('/media/upload', { ...sent, method: 'POST', headers: { ...headers, ...sent.headers } })
    const location = response.headers.get('location')
    const { id, url } = await answered<MediaObject>(201, response)
    expect(location).toBe(`${PUBLIC}/media/${id}`)
    expect(url).toBe(`${PUBLIC}/media/${id}/content`)
    const json = { filename: 'a.jpg', fileType: 'image/jpeg' }
    const link = await answered<Presigned>(200, await call('/media/presign', { method: 'POST', headers, json }))
    expect(link.publicUrl).toBe(`${PUBLIC}/media/${link.id}/content`)
    if (inside !== undefined) expect((await inside.streamed(id))[0]?.payload.url).toBe(url)
  })

  test('does not keep a link to the bytes from working', async () => {
    const user = newUser()
    const { id } = await uploadThrough(user)
    const response = await call(`/media/${id}/content`, { headers: through(user) })
    const link = response.headers.get('location') ?? ''
    // The disk store's links lead to the service itself.
    if (inside === undefined) expect(link).toStartWith(`${PUBLIC}/files/`)
    await expectBytes(await fetch(link.replace(PUBLIC, baseUrl)), rocket)
  })
})

describe('a page of CORS_ORIGINS', () => {
  test('may call the service and read what it answers', async () => {
    const preflight = await call(`/media/${crypto.randomUUID()}`, {
      method: 'OPTIONS',
      headers: {
        origin: PAGE,
        'access-control-request-method': 'PATCH',
        'access-control-request-headers': 'authorization,content-type',
      },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-origin')).toBe(PAGE)
    expect(preflight.headers.get('access-control-allow-methods')).toContain('PATCH')
    expect(preflight.headers.get('access-control-allow-headers')?.toLowerCase()).toContain('authorization')

    const answer = await call('/media', { headers: { origin: PAGE } })
    expect(answer.headers.get('access-control-allow-origin')).toBe(PAGE)
    expect(answer.headers.get('access-control-expose-headers')?.toLowerCase()).toContain('location')
    await expectProblem(answer, 401, 'token_missing')
  })

  test('is let in, and no other page is', async () => {
    const answer = await call('/media', { headers: { origin: 'https://evil.example.test' } })
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
  })
})

async function uploadThrough(userId: string): Promise<MediaObject> {
  const { body, headers } = multipart([{ name: 'file', filename: 'a.jpg', content: rocket }])
  const sent = { method: 'POST', body, headers: { ...headers, ...through(userId) } }
  return answered<MediaObject>(201, await call('/media/upload', sent))
}
