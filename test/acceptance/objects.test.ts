import { describe, expect, test } from 'bun:test'
import {
  answered,
  expectBytes,
  expectInvalid,
  expectProblem,
  type MediaObject,
  newUser,
  type SignedMediaObject,
  tokenFor,
} from '../support/http/client.ts'
import { names, readCorpus } from '../support/pictures/corpus.ts'
import { usualStage } from '../support/process/acceptance.ts'

const { call, get, inside, page, patch, uploaded } = await usualStage()

const rocket = await readCorpus('accept/rocket.jpg')

describe('GET of an object', () => {
  test('answers with all of it, and a link that needs no credentials', async () => {
    const user = newUser()
    const uploadedObject = await uploaded(user)
    const response = await get(user, uploadedObject.id)
    expect(response.headers.get('cache-control')).toBe('no-store')
    const object = await answered<SignedMediaObject>(200, response)
    expect(object).toEqual({
      ...uploadedObject,
      signedUrl: expect.stringMatching(/^http:\/\//),
      signedUrlExpiresAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    })
    const secondsLeft = (Date.parse(object.signedUrlExpiresAt) - Date.now()) / 1000
    expect(secondsLeft).toBeLessThanOrEqual(900)
    expect(secondsLeft).toBeGreaterThan(900 / 2 - 20)
    await expectBytes(await fetch(object.signedUrl), rocket)
  })

  test('takes the id in capital letters', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    expect(await answered<MediaObject>(200, await get(user, id.toUpperCase()))).toMatchObject({ id })
  })

  test('has a HEAD beside it, without a body', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    const response = await call(`/media/${id}`, { as: user, method: 'HEAD' })
    expect([response.status, await response.text()]).toEqual([200, ''])
  })

  test('is 404 for an unknown id', async () => {
    await expectProblem(await get(newUser(), crypto.randomUUID()), 404, 'not_found')
  })
})

describe('GET of its content', () => {
  test('redirects to the bytes, which say their type and may be shown', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    const response = await call(`/media/${id}/content`, { as: user })
    expect([response.status, await response.text()]).toEqual([302, ''])
    expect(response.headers.get('cache-control')).toMatch(/^private, max-age=\d+$/)
    const content = await fetch(response.headers.get('location') ?? '')
    expect(content.headers.get('content-type')).toBe('image/jpeg')
    expect(content.headers.get('content-disposition')).toBe('inline')
    await expectBytes(content, rocket)
  })

  test('leads its owner to the same bytes from the url of the object, and everyone to the same picture', async () => {
    const user = newUser()
    const { url } = await uploaded(user, 'accept/rocket.jpg', { visibility: 'public' })
    await expectBytes(await fetch(url, { headers: { authorization: `Bearer ${await tokenFor(user)}` } }), rocket)
    expect((await fetch(url)).headers.get('content-type')).toBe('image/jpeg')
  })
})

describe('a link to read', () => {
  test('works for its own object only', async () => {
    const user = newUser()
    const [one, other] = [await uploaded(user), await uploaded(user)]
    const { signedUrl } = await answered<SignedMediaObject>(200, await get(user, one.id))
    expect((await fetch(signedUrl.replace(one.id, other.id))).status).toBe(403)
    expect((await fetch(signedUrl.replace('original.jpg', 'original.png'))).status).toBe(403)
    expect((await fetch(signedUrl.slice(0, signedUrl.indexOf('?')))).status).toBe(403)
  })

  test('cannot be made to serve another type', async () => {
    const user = newUser()
    const { id } = await uploaded(user, 'accept/jpeg-with-html-comment.jpg')
    const { signedUrl } = await answered<SignedMediaObject>(200, await get(user, id))
    const forged = signedUrl.replace(/image(\/|%2F)jpeg/gi, 'text%2Fhtml')
    expect(forged).not.toBe(signedUrl)
    expect((await fetch(forged)).status).toBe(403)
  })
})

describe('PATCH', () => {
  test('changes the name, the visibility, or both', async () => {
    const user = newUser()
    const object = await uploaded(user)
    expect(await answered<MediaObject>(200, await patch(user, object.id, { originalName: 'new.jpg' }))).toEqual({
      ...object,
      originalName: 'new.jpg',
    })
    const both = { originalName: 'newer.jpg', visibility: 'public' }
    const changed = await answered<MediaObject>(200, await patch(user, object.id, { visibility: 'public' }))
    expect(changed).toEqual({ ...object, originalName: 'new.jpg', visibility: 'public' })
    expect(await answered<MediaObject>(200, await patch(user, object.id, both))).toMatchObject(both)
    expect(await answered<MediaObject>(200, await get(user, object.id))).toMatchObject(both)
    expect((await page(user)).items).toEqual([expect.objectContaining(both)])
    if (inside === undefined) return
    expect(await inside.rowOf(object.id)).toMatchObject({ original_name: 'newer.jpg', visibility: 'public' })
  })

  test.each(names)('makes a name safe as an upload does: $sent', async ({ sent, stored, repeatX }) => {
    const user = newUser()
    const { id } = await uploaded(user)
    const originalName = repeatX === undefined ? sent : `${'x'.repeat(repeatX)}.jpg`
    expect((await answered<MediaObject>(200, await patch(user, id, { originalName }))).originalName).toBe(
      stored ?? `${'x'.repeat(251)}.jpg`,
    )
  })

  test('names every field that is wrong or unknown, and changes nothing', async () => {
    const user = newUser()
    const object = await uploaded(user)
    await expectInvalid(
      await patch(user, object.id, { originalName: 7, visibility: 'all' }),
      'originalName',
      'visibility',
    )
    await expectInvalid(
      await patch(user, object.id, { originalName: 'a', status: 'deleted', userId: user }),
      'status',
      'userId',
    )
    await expectInvalid(await patch(user, object.id, { originalName: '' }), 'originalName')
    await expectProblem(await patch(user, object.id, {}), 400, 'request_invalid')
    expect(await answered<MediaObject>(200, await get(user, object.id))).toMatchObject({ ...object })
    expect(inside?.heard(object.id).length ?? 1).toBe(1)
  })

  test('is 404 for an unknown id', async () => {
    await expectProblem(await patch(newUser(), crypto.randomUUID(), { originalName: 'a' }), 404, 'not_found')
  })
})
