import { afterAll, describe, expect, test } from 'bun:test'
import {
  answered,
  expectBytes,
  expectProblem,
  type MediaObject,
  newUser,
  type SignedMediaObject,
  until,
} from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'

const { complete, get, inside, page, presign, presigned, put, remove, restore, upload, uploaded, close } =
  await openStage({
    ALLOWED_TYPES: 'image/jpeg, video/mp4',
    MAX_IMAGE_PIXELS: String(640 * 427),
    SIGNED_URL_SECONDS: '4',
    UPLOAD_URL_SECONDS: '2',
    RETENTION_SECONDS: '1',
  })
afterAll(close)

const clip = await readCorpus('accept/clip.mp4')
const rocket = await readCorpus('accept/rocket.jpg')

describe('a service with video/mp4 among ALLOWED_TYPES', () => {
  test('a film is accepted, without dimensions, whatever its name and declared type', async () => {
    const user = newUser()
    const object = await answered<MediaObject>(201, await upload(user, clip, { name: 'film.jpg', type: 'image/jpeg' }))
    expect(object).toMatchObject({ mimeType: 'video/mp4', metadata: { width: null, height: null } })
    expect(object.key).toBe(`media/${object.id}/original.mp4`)
    const { signedUrl } = await answered<SignedMediaObject>(200, await get(user, object.id))
    const fetched = await fetch(signedUrl)
    expect(fetched.headers.get('content-type')).toBe('video/mp4')
    await expectBytes(fetched, clip)
    if (inside === undefined) return
    const seen = { payload: expect.objectContaining({ mimeType: 'video/mp4', width: null, height: null }) }
    await until(() => expect(inside.heard(object.id)).toMatchObject([seen]))
  })

  test('a film is accepted when it went straight to the store', async () => {
    const user = newUser()
    const link = await presigned(user, { filename: 'film.mp4', fileType: 'video/mp4' })
    expect((await put(link, clip)).status).toBe(200)
    expect(await answered<MediaObject>(200, await complete(user, link.id))).toMatchObject({ mimeType: 'video/mp4' })
  })

  test('a film declared as a picture is a type mismatch, and a picture declared as a film', async () => {
    const user = newUser()
    for (const [fileType, bytes] of [
      ['image/jpeg', clip],
      ['video/mp4', rocket],
    ] as const) {
      const link = await presigned(user, { fileType })
      expect((await put(link, bytes)).status).toBe(200)
      await expectProblem(await complete(user, link.id), 422, 'type_mismatch')
    }
  })

  test('a type that is not among them is refused, though it is by default', async () => {
    await expectProblem(await upload(newUser(), 'accept/astronaut.png'), 415, 'media_type_unsupported')
    const declared = { filename: 'a.png', fileType: 'image/png' }
    await expectProblem(await presign(newUser(), declared), 415, 'media_type_unsupported')
  })
})

test('a picture of more than MAX_IMAGE_PIXELS is refused', async () => {
  expect((await upload(newUser(), rocket)).status).toBe(201)
  await expectProblem(await upload(newUser(), 'accept/hubble.jpg'), 422, 'image_too_large')
})

describe.concurrent('links and the bin end', () => {
  test('links to read, after SIGNED_URL_SECONDS', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    const { signedUrl, signedUrlExpiresAt } = await answered<SignedMediaObject>(200, await get(user, id))
    await expectBytes(await fetch(signedUrl), rocket)
    await until(async () => expect((await fetch(signedUrl)).status).toBe(403))
    expect(Math.abs(Date.parse(signedUrlExpiresAt) - Date.now())).toBeLessThan(5_000)
    const fresh = await answered<SignedMediaObject>(200, await get(user, id))
    await expectBytes(await fetch(fresh.signedUrl), rocket)
  })

  test('links to upload, after UPLOAD_URL_SECONDS', async () => {
    const user = newUser()
    const link = await presigned(user)
    await until(() => expect(Date.now()).toBeGreaterThan(Date.parse(link.expiresAt) + 1_000))
    expect((await put(link, rocket)).status).toBe(403)
    await expectProblem(await complete(user, link.id), 409, 'upload_incomplete')
  })

  test('the bin, after RETENTION_SECONDS', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    await remove(user, id)
    expect((await restore(user, id)).status).toBe(200)
    await remove(user, id)
    const deletedAt = Date.now()
    await until(() => expect(Date.now()).toBeGreaterThan(deletedAt + 1_100))
    await expectProblem(await restore(user, id), 404, 'not_found')
    await expectProblem(await get(user, id), 404, 'not_found')
    expect((await page(user)).items).toEqual([])
  })
})
