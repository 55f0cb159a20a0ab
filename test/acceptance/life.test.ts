import { describe, expect, test } from 'bun:test'
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
import { usualStage } from '../support/process/acceptance.ts'

const { call, complete, get, inside, page, patch, presigned, put, remove, restore, uploaded } = await usualStage()

const rocket = await readCorpus('accept/rocket.jpg')

describe('a deleted object', () => {
  test('is gone for every call but restore, and keeps its bytes', async () => {
    const user = newUser()
    const object = await uploaded(user, 'accept/rocket.jpg', { visibility: 'public' })
    const response = await remove(user, object.id)
    expect([response.status, await response.text()]).toEqual([204, ''])
    await expectProblem(await get(user, object.id), 404, 'not_found')
    await expectProblem(await call(`/media/${object.id}/content`, { as: user }), 404, 'not_found')
    await expectProblem(await call(`/media/${object.id}`), 401, 'token_missing')
    await expectProblem(await patch(user, object.id, { visibility: 'private' }), 404, 'not_found')
    await expectProblem(await complete(user, object.id), 404, 'not_found')
    await expectProblem(await remove(user, object.id), 404, 'not_found')
    expect((await page(user)).items).toEqual([])
    if (inside === undefined) return
    expect((await inside.rowOf(object.id))?.status).toBe('deleted')
    expect(await inside.keys(`media/${object.id}/`)).toEqual([object.key])
  })

  test('is in the bin, and comes back as it was', async () => {
    const user = newUser()
    const object = await uploaded(user)
    await remove(user, object.id)
    expect((await page(user, '?status=deleted')).items).toEqual([
      expect.objectContaining({ ...object, status: 'deleted' }),
    ])
    expect(await answered<MediaObject>(200, await restore(user, object.id))).toEqual(object)
    expect((await page(user, '?status=deleted')).items).toEqual([])
    const { signedUrl } = await answered<SignedMediaObject>(200, await get(user, object.id))
    await expectBytes(await fetch(signedUrl), rocket)
  })

  test('can be deleted and restored again and again', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    for (let i = 0; i < 3; i += 1) {
      expect((await remove(user, id)).status).toBe(204)
      expect((await restore(user, id)).status).toBe(200)
    }
    if (inside === undefined) return
    await until(async () => expect(inside.heard(id).map(({ payload }) => payload.seq)).toEqual([1, 2, 3, 4, 5, 6, 7]))
  })
})

test('an active, pending or unknown object cannot be restored', async () => {
  const user = newUser()
  await expectProblem(await restore(user, (await uploaded(user)).id), 404, 'not_found')
  await expectProblem(await restore(user, (await presigned(user)).id), 404, 'not_found')
  await expectProblem(await restore(user, crypto.randomUUID()), 404, 'not_found')
})

describe('complete', () => {
  test('before the bytes are there is 409, and works once they are', async () => {
    const user = newUser()
    const link = await presigned(user)
    await expectProblem(await complete(user, link.id), 409, 'upload_incomplete')
    await expectProblem(await complete(user, link.id), 409, 'upload_incomplete')
    await put(link, rocket)
    expect(await answered<MediaObject>(200, await complete(user, link.id))).toMatchObject({ id: link.id })
  })

  test('answers the same every time, and announces the object once', async () => {
    const user = newUser()
    const link = await presigned(user)
    await put(link, rocket)
    const first = await answered<MediaObject>(200, await complete(user, link.id))
    expect(first.status).toBe('active')
    expect(await answered<MediaObject>(200, await complete(user, link.id))).toEqual(first)
    expect(await answered<MediaObject>(200, await complete(user, link.id))).toEqual(first)
    await expectEvents(link.id, ['photo:uploaded'])
  })

  test('a direct upload is answered with its object', async () => {
    const user = newUser()
    const object = await uploaded(user)
    expect(await answered<MediaObject>(200, await complete(user, object.id))).toEqual(object)
    await expectEvents(object.id, ['photo:uploaded'])
  })

  test('eight times at once gives one answer and one event', async () => {
    const user = newUser()
    const link = await presigned(user)
    await put(link, rocket)
    const answers = await Promise.all(Array.from({ length: 8 }, () => complete(user, link.id)))
    const objects = await Promise.all(answers.map((response) => answered<MediaObject>(200, response)))
    for (const object of objects) expect(object).toEqual(objects[0]!)
    await expectEvents(link.id, ['photo:uploaded'])
  })

  test('eight times at once of refused bytes makes none of them active', async () => {
    const user = newUser()
    const link = await presigned(user)
    await put(link, await readCorpus('refuse/document.pdf'))
    const answers = await Promise.all(Array.from({ length: 8 }, () => complete(user, link.id)))
    const statuses = answers.map(({ status }) => status)
    expect(statuses).toContain(415)
    for (const status of statuses) expect([404, 409, 415]).toContain(status)
    await expectProblem(await complete(user, link.id), 404, 'not_found')
    if (inside !== undefined) expect((await inside.rowOf(link.id))?.status).toBe('purging')
    expect(inside?.heard(link.id)).toEqual(inside && [])
  })

  test('of an unknown id is 404', async () => {
    await expectProblem(await complete(newUser(), crypto.randomUUID()), 404, 'not_found')
  })
})

describe('calls at once', () => {
  test('delete an object once', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    const answers = await Promise.all(Array.from({ length: 8 }, () => remove(user, id)))
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 404, 404, 404, 404, 404, 404, 404])
    await expectEvents(id, ['photo:uploaded', 'photo:deleted'])
  })

  test('restore an object once', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    await remove(user, id)
    const answers = await Promise.all(Array.from({ length: 8 }, () => restore(user, id)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 404, 404, 404, 404, 404, 404, 404])
    await expectEvents(id, ['photo:uploaded', 'photo:deleted', 'photo:restored'])
  })

  test('change an object once each, and the last change is what is there', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    const names = Array.from({ length: 8 }, (_, i) => `${i}.jpg`)
    const answers = await Promise.all(names.map((originalName) => patch(user, id, { originalName })))
    expect(answers.map(({ status }) => status)).toEqual(names.map(() => 200))
    const { originalName } = await answered<MediaObject>(200, await get(user, id))
    expect(names).toContain(originalName)
    if (inside === undefined) return
    await until(() => expect(inside.heard(id)).toHaveLength(9))
    const last = inside.heard(id).find(({ payload }) => payload.seq === 9)
    expect(last?.payload.originalName).toBe(originalName)
  })
})

/** The events that were made of an object, whoever listens: none twice, none missing, none owed any more. */
async function expectEvents(id: string, channels: string[]): Promise<void> {
  if (inside === undefined) return
  await until(async () => expect(await inside.rowOf(id)).toMatchObject({ outbox: [], event_seq: channels.length }))
  await until(() => expect(inside.heard(id).map(({ channel }) => channel)).toEqual(channels))
}
