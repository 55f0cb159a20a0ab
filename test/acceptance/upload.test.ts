import { describe, expect, test } from 'bun:test'
import { answered, expectBytes, type MediaObject, newUser, tokenFor } from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { openRawConnection, requestHead } from '../support/http/raw-connection.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { usualStage } from '../support/process/acceptance.ts'

const { baseUrl, call, get, inside, page, upload, uploaded } = await usualStage()

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('an upload', () => {
  test('is answered with 201, where it is, and the media object in full', async () => {
    const user = newUser()
    const before = Date.now()
    const response = await upload(user, 'accept/rocket.jpg', { name: 'rocket.jpg' })
    const location = response.headers.get('location')
    const object = await answered<MediaObject>(201, response)
    expect(object).toEqual({
      id: expect.stringMatching(UUID_V7),
      userId: user,
      originalName: 'rocket.jpg',
      mimeType: 'image/jpeg',
      sizeBytes: (await readCorpus('accept/rocket.jpg')).length,
      key: `media/${object.id}/original.jpg`,
      url: `${baseUrl}/media/${object.id}/content`,
      metadata: { width: 640, height: 427, thumbHash: null, dominantColor: null },
      visibility: 'private',
      status: 'active',
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    })
    expect(Math.abs(Date.parse(object.createdAt) - before)).toBeLessThan(20_000)
    expect(location).toBe(`${baseUrl}/media/${object.id}`)
  })

  test('is what Location leads to', async () => {
    const user = newUser()
    const response = await upload(user, 'accept/cat.webp')
    const path = new URL(response.headers.get('location') ?? '').pathname
    const object = await answered<MediaObject>(201, response)
    expect(await answered<MediaObject>(200, await call(path, { as: user }))).toMatchObject(object)
  })

  test('is in the table and in the bucket as its answer says', async () => {
    const object = await uploaded(newUser(), 'accept/astronaut.png', { visibility: 'public' })
    if (inside === undefined) return
    expect(await inside.rowOf(object.id)).toMatchObject({
      id: object.id,
      user_id: object.userId,
      original_name: object.originalName,
      mime_type: 'image/png',
      size_bytes: object.sizeBytes,
      storage_key: object.key,
      metadata: { width: 512, height: 512 },
      status: 'active',
      visibility: 'public',
      created_at: new Date(object.createdAt),
      links_until: expect.any(Date),
      event_seq: 1,
    })
    expect(await inside.keys(`media/${object.id}/`)).toEqual([object.key])
    const stored = await inside.storedUnder(object.key)
    expect(stored?.type).toBe('image/png')
    expect(Buffer.from(stored?.bytes ?? []).equals(await readCorpus('accept/astronaut.png'))).toBe(true)
  })

  test('is private unless the field visibility says public', async () => {
    const user = newUser()
    expect((await uploaded(user)).visibility).toBe('private')
    expect((await uploaded(user, 'accept/rocket.jpg', { visibility: 'private' })).visibility).toBe('private')
    expect((await uploaded(user, 'accept/rocket.jpg', { visibility: 'public' })).visibility).toBe('public')
  })

  test('may have the field after the file', async () => {
    const file = { name: 'file', filename: 'a.jpg', content: await readCorpus('accept/rocket.jpg') }
    const sent = multipart([file, { name: 'visibility', content: 'public' }])
    const response = await call('/media/upload', { as: newUser(), method: 'POST', ...sent })
    expect(await answered<MediaObject>(201, response)).toMatchObject({ visibility: 'public' })
  })

  test('works with the FormData of a browser', async () => {
    const form = new FormData()
    form.append('file', new File([await readCorpus('accept/hubble.jpg')], 'hubble "deep field".jpg'))
    const response = await call('/media/upload', { as: newUser(), method: 'POST', body: form })
    expect(await answered<MediaObject>(201, response)).toMatchObject({ originalName: 'hubble "deep field".jpg' })
  })

  test('may come without Content-Length, in small pieces', async () => {
    const user = newUser()
    const bytes = await readCorpus('accept/three-frames-120x80.gif')
    const { body, headers } = multipart([{ name: 'file', filename: 'a.gif', content: bytes }])
    const response = await call('/media/upload', { as: user, method: 'POST', headers, body: pieces(body, 333) })
    const { id } = await answered<MediaObject>(201, response)
    const { signedUrl } = await answered<{ signedUrl: string }>(200, await get(user, id))
    await expectBytes(await fetch(signedUrl), bytes)
  })

  test('makes another object each time from the same bytes, also at once', async () => {
    const user = newUser()
    const objects = await Promise.all(Array.from({ length: 10 }, () => uploaded(user)))
    expect(new Set(objects.map(({ key }) => key)).size).toBe(10)
    expect((await page(user)).items.map(({ id }) => id).sort()).toEqual(objects.map(({ id }) => id).sort())
  })

  test('that breaks off leaves nothing', async () => {
    const user = newUser()
    const bytes = await readCorpus('accept/rocket.jpg')
    const { body, headers } = multipart([{ name: 'file', filename: 'a.jpg', content: bytes }])
    const authorization = `Bearer ${await tokenFor(user)}`
    const connection = await openRawConnection(baseUrl)
    const head = { ...headers, authorization, 'content-length': String(body.length) }
    await connection.send(requestHead('POST /media/upload', head))
    await connection.send(body.subarray(0, body.length / 2))
    expect((await page(user)).items).toEqual([])
    connection.destroy()
    expect((await page(user)).items).toEqual([])
    expect(await inside?.rowsOf(user)).toEqual(inside && [])
  })
})

function pieces(body: Uint8Array, size: number): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= body.length) return controller.close()
      controller.enqueue(body.slice(at, at + size))
      at += size
    },
  })
}
