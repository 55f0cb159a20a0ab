import { describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import {
  answered,
  expectInvalid,
  expectProblem,
  type MediaObject,
  newUser,
  type Presigned,
} from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { usualStage } from '../support/process/acceptance.ts'

const { baseUrl, call, complete, get, inside, page, patch, presign, presigned, put, remove, restore } =
  await usualStage()

const rocket = await readCorpus('accept/rocket.jpg')
const hubble = await readCorpus('accept/hubble.jpg')
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

describe('presign', () => {
  test('answers with everything the browser has to send', async () => {
    const user = newUser()
    const before = Date.now()
    const link = await presigned(user, { filename: 'rocket.jpg', fileType: 'image/jpeg' })
    expect(link).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{14}7[0-9a-f-]{21}$/),
      key: `media/${link.id}/original.jpg`,
      uploadUrl: expect.stringMatching(/^http:\/\/.+original\.jpg\?/),
      method: 'PUT',
      headers: { 'content-type': 'image/jpeg', 'if-none-match': '*' },
      publicUrl: `${baseUrl}/media/${link.id}/content`,
      expiresAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    })
    expect(Math.abs(Date.parse(link.expiresAt) - before - 900_000)).toBeLessThan(20_000)
    expect(await inside?.rowOf(link.id)).toEqual(
      inside &&
        expect.objectContaining({
          user_id: user,
          original_name: 'rocket.jpg',
          mime_type: 'image/jpeg',
          size_bytes: null,
          storage_key: link.key,
          status: 'pending',
          outbox: [],
        }),
    )
  })

  test('makes an object that nobody sees before it is complete', async () => {
    const user = newUser()
    const { id } = await presigned(user, { visibility: 'public' })
    await expectProblem(await get(user, id), 404, 'not_found')
    await expectProblem(await call(`/media/${id}/content`, { as: user }), 404, 'not_found')
    await expectProblem(await patch(user, id, { visibility: 'private' }), 404, 'not_found')
    await expectProblem(await remove(user, id), 404, 'not_found')
    await expectProblem(await restore(user, id), 404, 'not_found')
    expect((await page(user)).items).toEqual([])
    expect((await page(user, `?ids=${id}`)).items).toEqual([])
  })

  test('keeps the visibility for when it is complete', async () => {
    const user = newUser()
    const link = await presigned(user, { visibility: 'public', size: rocket.length })
    await put(link, rocket)
    expect(await answered<MediaObject>(200, await complete(user, link.id))).toMatchObject({ visibility: 'public' })
    expect((await call(`/media/${link.id}`)).status).toBe(200)
  })

  test.each(['image/svg+xml', 'text/html', 'video/mp4', 'IMAGE', 'image'])('refuses the type %p', async (fileType) => {
    await expectProblem(await presign(newUser(), { filename: 'a', fileType }), 415, 'media_type_unsupported')
  })

  test('refuses more than MAX_OBJECT_BYTES', async () => {
    const size = 5 * 1024 ** 3
    expect((await presigned(newUser(), { size })).id).toBeString()
    await expectProblem(
      await presign(newUser(), { filename: 'a.jpg', fileType: 'image/jpeg', size: size + 1 }),
      413,
      'file_too_large',
    )
  })

  test('names every field that is missing, unknown or wrong', async () => {
    const user = newUser()
    await expectInvalid(await presign(user, { fileType: 5 }), 'filename', 'fileType')
    const wrong = { filename: 7, fileType: null, size: 0, sha256: 'abc', visibility: 'secret', owner: 'me', key: 'x' }
    await expectInvalid(await presign(user, wrong), ...Object.keys(wrong))
    await expectInvalid(await presign(user, { filename: '', fileType: 'image/jpeg', size: 1.5 }), 'filename', 'size')
    expect(await inside?.rowsOf(user)).toEqual(inside && [])
  })
})

describe('the store refuses, under a link,', () => {
  test('another type', async () => {
    const user = newUser()
    const link = await presigned(user)
    await expectRefused(user, link, await put(link, rocket, { 'content-type': 'image/png' }), [403])
    await expectRefused(user, link, await put(link, rocket, { 'content-type': 'text/html' }), [403])
  })

  test('another length, when the size was given', async () => {
    const user = newUser()
    const link = await presigned(user, { size: rocket.length })
    await expectRefused(user, link, await put(link, rocket.subarray(1)), [403])
    await expectRefused(user, link, await put(link, hubble), [403])
    expect((await put(link, rocket)).status).toBe(200)
  })

  test('other bytes, when their SHA-256 was given', async () => {
    const user = newUser()
    const link = await presigned(user, { size: rocket.length, sha256: sha256(rocket).toUpperCase() })
    const forged = rocket.slice()
    forged[rocket.length - 1] = 0
    await expectRefused(user, link, await put(link, forged), [400, 422])
    expect((await put(link, rocket)).status).toBe(200)
    expect(await answered<MediaObject>(200, await complete(user, link.id))).toMatchObject({ status: 'active' })
  })

  test('bytes without If-None-Match', async () => {
    const user = newUser()
    const link = await presigned(user)
    await expectRefused(user, link, await put(link, rocket, { 'if-none-match': null }), [400, 403])
  })

  test('a second use, before and after complete', async () => {
    const user = newUser()
    const link = await presigned(user)
    expect((await put(link, rocket)).status).toBe(200)
    expect((await put(link, hubble)).status).toBe(412)
    expect(await answered<MediaObject>(200, await complete(user, link.id))).toMatchObject({ sizeBytes: rocket.length })
    expect((await put(link, hubble)).status).toBe(412)
    const { signedUrl } = await answered<{ signedUrl: string }>(200, await get(user, link.id))
    expect(sha256(await (await fetch(signedUrl)).bytes())).toBe(sha256(rocket))
  })

  test('all but one of several uses at once', async () => {
    const link = await presigned(newUser())
    const answers = await Promise.all([rocket, hubble, rocket, hubble].map((bytes) => put(link, bytes)))
    const statuses = answers.map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
    // A store may also ask the losers of a race to try again.
    for (const status of statuses) expect([200, 409, 412]).toContain(status)
  })

  test('a changed link', async () => {
    const user = newUser()
    const link = await presigned(user)
    const other = await presigned(user)
    const elsewhere = { ...link, uploadUrl: link.uploadUrl.replace(link.key, other.key) }
    await expectRefused(user, other, await put(elsewhere, rocket), [403])
  })

  test('another method under a link to read', async () => {
    const user = newUser()
    const link = await presigned(user)
    await put(link, rocket)
    await complete(user, link.id)
    const { signedUrl } = await answered<{ signedUrl: string }>(200, await get(user, link.id))
    expect((await fetch(signedUrl, { method: 'PUT', headers: link.headers, body: hubble })).status).toBe(403)
    expect([403, 405]).toContain((await fetch(signedUrl, { method: 'DELETE' })).status)
  })
})

/** Nothing was stored, so there is nothing to complete. */
async function expectRefused(user: string, link: Presigned, response: Response, statuses: number[]): Promise<void> {
  await response.body?.cancel()
  expect(statuses).toContain(response.status)
  await expectProblem(await complete(user, link.id), 409, 'upload_incomplete')
  expect(await inside?.keys(`media/${link.id}/`)).toEqual(inside && [])
}
