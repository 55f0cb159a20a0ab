import { afterAll, describe, expect, test } from 'bun:test'
import { answered, type Call, expectProblem, type MediaObject, newUser, tokenFor } from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'

const GATEWAY_SECRET = 'the secret of a gateway that is long enough'
const APP = 'https://app.example.com'
const { call, close } = await openStage({ GATEWAY_SECRET, CORS_ORIGINS: APP })
afterAll(close)

const form = multipart([{ name: 'file', filename: 'a.jpg', content: await readCorpus('accept/rocket.jpg') }])
/** As a browser sends it from a page of another site, through a gateway that knows its user by a cookie. */
const foreign = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', origin: 'https://evil.example' }
const by = (user: string) => ({ 'x-gateway-secret': GATEWAY_SECRET, 'x-user-id': user })

async function stored(user: string, fields: Record<string, string> = {}): Promise<MediaObject> {
  const parts = Object.entries(fields).map(([name, content]) => ({ name, content }))
  const picture = { name: 'file', filename: 'a.jpg', content: await readCorpus('accept/rocket.jpg') }
  const { body, headers } = multipart([...parts, picture])
  return answered(201, await call('/media/upload', { method: 'POST', body, headers: { ...headers, ...by(user) } }))
}

// Without `isForgeable` in src/http/request/identify.ts each of these has its effect.
describe('a caller whom a gateway vouches for, on a page of another site', () => {
  test('can change nothing and ask for nothing of their own', async () => {
    const user = newUser()
    const { id } = await stored(user)
    const calls: [string, string, Call][] = [
      ['POST', '/media/upload', form],
      ['POST', `/media/${id}/complete`, {}],
      ['POST', `/media/${id}/restore`, {}],
      ['DELETE', `/media/${id}`, {}],
      ['PATCH', `/media/${id}`, { json: { visibility: 'public' } }],
      ['GET', '/media', {}],
      ['GET', '/media/events', {}],
    ]
    for (const [method, path, sent] of calls) {
      const headers = { ...sent.headers, ...by(user), ...foreign }
      await expectProblem(await call(path, { ...sent, method, headers }), 403, 'forbidden')
    }
    const { items } = await answered<{ items: MediaObject[] }>(200, await call('/media', { headers: by(user) }))
    expect(items).toMatchObject([{ id, visibility: 'private' }])
  })

  test('sees public objects there as everyone does, and no private ones', async () => {
    const user = newUser()
    const [secret, shown] = [await stored(user), await stored(user, { visibility: 'public' })]
    const headers = { ...by(user), ...foreign, 'sec-fetch-dest': 'image' }
    await expectProblem(await call(`/media/${secret.id}/content`, { headers }), 401, 'token_missing')
    const answer = await call(`/media/${shown.id}/content`, { headers })
    expect([answer.status, answer.headers.get('cache-control')?.startsWith('public')]).toEqual([302, true])
  })

  test('may follow a link to what is theirs', async () => {
    const user = newUser()
    const { id } = await stored(user)
    const headers = { ...by(user), 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }
    expect((await call(`/media/${id}/content`, { headers })).status).toBe(302)
    // A form that is sent is a navigation, too.
    await expectProblem(await call(`/media/${id}/restore`, { method: 'POST', headers }), 403, 'forbidden')
  })
})

test('pages of origins that are listed, of the same site, and programs are served as before', async () => {
  const user = newUser()
  const { id } = await stored(user)
  for (const from of [
    { ...foreign, origin: APP },
    { ...foreign, 'sec-fetch-site': 'same-site' },
    { ...foreign, 'sec-fetch-site': 'same-origin' },
    { ...foreign, 'sec-fetch-site': 'none' },
    {},
  ])
    expect((await call(`/media/${id}`, { headers: { ...by(user), ...from } })).status).toBe(200)
})

test('a bearer token, which no other page has, is enough from anywhere', async () => {
  const user = newUser()
  const { id } = await stored(user)
  const headers = { ...foreign, authorization: `Bearer ${await tokenFor(user)}` }
  expect((await call(`/media/${id}`, { headers })).status).toBe(200)
})
