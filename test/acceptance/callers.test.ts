import { describe, expect, test } from 'bun:test'
import { SignJWT, UnsecuredJWT } from 'jose'
import {
  answered,
  type Call,
  expectProblem,
  JWT_SECRET,
  type MediaObject,
  newUser,
  tokenFor,
} from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { usualStage } from '../support/process/acceptance.ts'

const { call, complete, get, inside, page, patch, presigned, put, remove, restore, uploaded } = await usualStage()

const rocket = await readCorpus('accept/rocket.jpg')
const file = { name: 'file', filename: 'rocket.jpg', content: rocket }
const now = Math.floor(Date.now() / 1000)
const unknown = crypto.randomUUID()

/** Every call that is about somebody's objects. */
const calls: [string, string, Call][] = [
  ['POST', '/media/upload', multipart([file])],
  ['POST', '/media/presign', { json: { filename: 'a.jpg', fileType: 'image/jpeg' } }],
  ['POST', `/media/${unknown}/complete`, {}],
  ['GET', '/media', {}],
  ['GET', `/media/${unknown}`, {}],
  ['GET', `/media/${unknown}/content`, {}],
  ['PATCH', `/media/${unknown}`, { json: { visibility: 'public' } }],
  ['DELETE', `/media/${unknown}`, {}],
  ['POST', `/media/${unknown}/restore`, {}],
]

describe('a call without credentials', () => {
  test.each(calls)('%s %s is 401 token_missing', async (method, path, sent) => {
    await expectProblem(await call(path, { ...sent, method }), 401, 'token_missing')
  })

  test('the user id of a gateway counts for nothing', async () => {
    const headers = { 'x-user-id': newUser(), 'x-user-role': 'service' }
    await expectProblem(await call('/media', { headers }), 401, 'token_missing')
  })
})

describe('a call with a bad token', () => {
  test.each(calls)('%s %s is 401 token_invalid', async (method, path, sent) => {
    const authorization = `Bearer ${await tokenFor(newUser(), { exp: now - 60 })}`
    const response = await call(path, { ...sent, method, headers: { ...sent.headers, authorization } })
    expect(response.headers.get('www-authenticate')).toContain('error="invalid_token"')
    await expectProblem(response, 401, 'token_invalid')
  })

  const signed = (claims: Record<string, unknown>, alg = 'HS256') =>
    new SignJWT(claims).setProtectedHeader({ alg }).sign(new TextEncoder().encode(JWT_SECRET))
  const good = { sub: newUser(), exp: now + 300 }
  const bad: [string, () => string | Promise<string>][] = [
    ['expired', async () => `Bearer ${await tokenFor(newUser(), { exp: now - 60 })}`],
    ['signed with another secret', async () => `Bearer ${await tokenFor(newUser(), {}, 'x'.repeat(40))}`],
    ['not signed, alg none', () => `Bearer ${new UnsecuredJWT(good).encode()}`],
    ['signed with another algorithm', async () => `Bearer ${await signed(good, 'HS512')}`],
    ['not good yet', async () => `Bearer ${await signed({ ...good, nbf: now + 300 })}`],
    ['without exp', async () => `Bearer ${await signed({ sub: newUser() })}`],
    ['without sub', async () => `Bearer ${await signed({ exp: now + 300 })}`],
    ['of a sub that is no UUID', async () => `Bearer ${await tokenFor('admin')}`],
    ['of a sub that is no text', async () => `Bearer ${await signed({ ...good, sub: 7 })}`],
    ['changed after signing', async () => `Bearer ${(await signed(good)).replace(/^[^.]+\.[^.]+/, '$&A')}`],
    ['no token at all', () => 'Bearer not-a-token'],
    ['an empty one', () => 'Bearer'],
    ['of another scheme', () => `Basic ${btoa('user:password')}`],
    ['twice', async () => `Bearer ${await signed(good)}, Bearer ${await signed(good)}`],
  ]
  test.each(bad)('%s: 401 token_invalid', async (_what, authorization) => {
    const headers = { authorization: await authorization() }
    await expectProblem(await call('/media', { headers }), 401, 'token_invalid')
  })

  test('even a public object is 401', async () => {
    const { id } = await uploaded(newUser(), 'accept/rocket.jpg', { visibility: 'public' })
    const headers = { authorization: 'Bearer not-a-token' }
    await expectProblem(await call(`/media/${id}`, { headers }), 401, 'token_invalid')
    await expectProblem(await call(`/media/${id}/content`, { headers }), 401, 'token_invalid')
  })

  test('a request with gateway headers is 401 token_invalid when no secret is set', async () => {
    const headers = { 'x-gateway-secret': '', 'x-user-id': newUser() }
    await expectProblem(await call('/media', { headers }), 401, 'token_invalid')
  })

  test('a token from a clock that is a second off is accepted', async () => {
    const second = Math.floor(Date.now() / 1000)
    for (const claims of [{ exp: second - 1 }, { nbf: second + 2 }]) {
      const headers = { authorization: `bearer ${await tokenFor(newUser(), claims)}` }
      expect((await call('/media', { headers })).status).toBe(200)
    }
  })
})

describe('somebody else’s private object', () => {
  test('looks to a known caller as if it were not there, on every call', async () => {
    const owner = newUser()
    const other = newUser()
    const active = await uploaded(owner)
    const deleted = await uploaded(owner)
    await remove(owner, deleted.id)
    const pending = await presigned(owner)
    await put(pending, rocket)
    const none = crypto.randomUUID()
    for (const { id } of [active, deleted, pending]) {
      for (const attempt of [
        (id: string) => get(other, id),
        (id: string) => call(`/media/${id}/content`, { as: other }),
        (id: string) => patch(other, id, { visibility: 'public' }),
        (id: string) => remove(other, id),
        (id: string) => restore(other, id),
        (id: string) => complete(other, id),
      ]) {
        const foreign = await expectProblem(await attempt(id), 404, 'not_found')
        expect(foreign).toEqual(await expectProblem(await attempt(none), 404, 'not_found'))
      }
    }
    expect((await page(other, `?ids=${active.id}`)).items).toEqual([])
    expect(await answered<MediaObject>(200, await get(owner, active.id))).toMatchObject({ visibility: 'private' })
    expect((await page(owner, '?status=deleted')).items).toHaveLength(1)
    expect((await complete(owner, pending.id)).status).toBe(200)
    if (inside !== undefined) expect((await inside.rowsOf(other)).length).toBe(0)
  })

  test('looks to a stranger like any other: 401', async () => {
    const { id } = await uploaded(newUser())
    const foreign = await expectProblem(await call(`/media/${id}`), 401, 'token_missing')
    expect(foreign).toEqual(await expectProblem(await call(`/media/${unknown}`), 401, 'token_missing'))
    await expectProblem(await call(`/media/${id}/content`), 401, 'token_missing')
  })
})

describe('a public object', () => {
  test('is visible to strangers and others', async () => {
    const object = await uploaded(newUser(), 'accept/rocket.jpg', { visibility: 'public' })
    for (const as of [undefined, newUser()]) {
      const sent = as === undefined ? {} : { as }
      expect(await answered<MediaObject>(200, await call(`/media/${object.id}`, sent))).toMatchObject(object)
      expect((await call(`/media/${object.id}/content`, sent)).status).toBe(302)
    }
  })

  test('is changed and deleted by its owner only', async () => {
    const object = await uploaded(newUser(), 'accept/rocket.jpg', { visibility: 'public' })
    const other = newUser()
    await expectProblem(await patch(other, object.id, { visibility: 'private' }), 404, 'not_found')
    await expectProblem(await remove(other, object.id), 404, 'not_found')
    await expectProblem(await call(`/media/${object.id}`, { method: 'DELETE' }), 401, 'token_missing')
    expect(await answered<MediaObject>(200, await call(`/media/${object.id}`))).toMatchObject(object)
    expect((await page(other)).items).toEqual([])
  })

  test('is hidden from them once it is private', async () => {
    const owner = newUser()
    const { id } = await uploaded(owner, 'accept/rocket.jpg', { visibility: 'public' })
    expect((await patch(owner, id, { visibility: 'private' })).status).toBe(200)
    await expectProblem(await call(`/media/${id}`), 401, 'token_missing')
    await expectProblem(await get(newUser(), id), 404, 'not_found')
  })
})

describe('a service', () => {
  test('acts for everyone, and nothing changes hands', async () => {
    const owner = newUser()
    const authorization = `Bearer ${await tokenFor(newUser(), { role: 'service' })}`
    const asService = (method: string, path: string, json?: unknown) =>
      call(path, { method, headers: { authorization }, json })
    const { id } = await presigned(owner).then(async (link) => {
      await put(link, rocket)
      return answered<MediaObject>(200, await asService('POST', `/media/${link.id}/complete`))
    })
    expect(await answered<MediaObject>(200, await asService('GET', `/media/${id}`))).toMatchObject({ userId: owner })
    expect((await asService('GET', `/media/${id}/content`)).status).toBe(302)
    expect((await asService('PATCH', `/media/${id}`, { originalName: 'b.jpg' })).status).toBe(200)
    expect((await asService('DELETE', `/media/${id}`)).status).toBe(204)
    expect((await asService('POST', `/media/${id}/restore`)).status).toBe(200)
    expect(await answered<MediaObject>(200, await get(owner, id))).toMatchObject({
      userId: owner,
      originalName: 'b.jpg',
    })
    expect(await answered<{ items: unknown[] }>(200, await asService('GET', '/media'))).toMatchObject({ items: [] })
  })

  test.each([['admin'], ['Service'], [['services', 'Service']], [[['service']]], [true]])(
    'is nobody with the role %p',
    async (role) => {
      const { id } = await uploaded(newUser())
      const authorization = `Bearer ${await tokenFor(newUser(), { role })}`
      await expectProblem(await call(`/media/${id}`, { headers: { authorization } }), 404, 'not_found')
    },
  )
})
