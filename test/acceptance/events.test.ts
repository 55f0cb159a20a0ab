import { describe, expect, test } from 'bun:test'
import { answered, type MediaObject, newUser, until } from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { usualStage } from '../support/process/acceptance.ts'

const { complete, inside, patch, presigned, put, remove, restore, uploaded } = await usualStage()

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/

// The embedded default keeps its events to itself.
if (inside !== undefined) {
  describe('a subscriber hears', () => {
    test('an upload, with the file, its owner and its address', async () => {
      const object = await uploaded(newUser(), 'accept/phone-portrait.jpg')
      const [event] = await until(() => heardOnce(object.id))
      expect(event).toEqual({ channel: 'photo:uploaded', payload: uploadedPayload(object) })
      expect(Math.abs(Date.parse(String(event?.payload.occurredAt)) - Date.now())).toBeLessThan(20_000)
    })

    test('the same of a presigned upload, when it is complete', async () => {
      const user = newUser()
      const link = await presigned(user, { filename: 'cat.webp', fileType: 'image/webp' })
      await put(link, await readCorpus('accept/cat.webp'))
      expect(inside.heard(link.id)).toEqual([])
      const object = await answered<MediaObject>(200, await complete(user, link.id))
      const [event] = await until(() => heardOnce(link.id))
      expect(event).toEqual({ channel: 'photo:uploaded', payload: uploadedPayload(object) })
    })

    test('every change, in order and numbered', async () => {
      const user = newUser()
      const object = await uploaded(user)
      await patch(user, object.id, { originalName: 'new.jpg', visibility: 'public' })
      await remove(user, object.id)
      await restore(user, object.id)
      const events = await until(() => {
        const heard = inside.heard(object.id)
        expect(heard).toHaveLength(4)
        return heard
      })
      const common = (seq: number) => ({
        id: object.id,
        userId: user,
        eventId: expect.stringMatching(UUID),
        seq,
        occurredAt: expect.stringMatching(TIME),
      })
      expect(events[0]).toEqual({ channel: 'photo:uploaded', payload: uploadedPayload(object) })
      const change = { originalName: 'new.jpg', visibility: 'public' }
      expect(events[1]).toMatchObject({ channel: 'photo:updated', payload: { ...common(2), ...change } })
      expect(events[2]).toMatchObject({ channel: 'photo:deleted', payload: common(3) })
      expect(events[3]).toMatchObject({ channel: 'photo:restored', payload: common(4) })
      expect(new Set(events.map(({ payload }) => payload.eventId)).size).toBe(4)
      const times = events.map(({ payload }) => String(payload.occurredAt))
      expect(times).toEqual(times.toSorted())
    })

    test('nothing of calls that changed nothing', async () => {
      const user = newUser()
      const { id } = await uploaded(user)
      const stranger = newUser()
      await patch(stranger, id, { originalName: 'mine.jpg' })
      await remove(stranger, id)
      await restore(user, id)
      await complete(user, id)
      await remove(user, id)
      await remove(user, id)
      await until(() => expect(inside.heard(id).at(-1)?.channel).toBe('photo:deleted'))
      expect(inside.heard(id).map(({ channel }) => channel)).toEqual(['photo:uploaded', 'photo:deleted'])
    })
  })

  test('the stream keeps the same events for consumers that were offline', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    await remove(user, id)
    await until(() => expect(inside.heard(id)).toHaveLength(2))
    expect(await inside.streamed(id)).toEqual(inside.heard(id))
  })

  test('a row owes nothing any more soon after', async () => {
    const user = newUser()
    const objects = await Promise.all(Array.from({ length: 20 }, () => uploaded(user)))
    await Promise.all(objects.map(({ id }) => remove(user, id)))
    await until(async () => {
      for (const row of await inside.rowsOf(user))
        expect(row).toMatchObject({ outbox: [], outbox_due_at: null, event_seq: 2 })
    })
    for (const { id } of objects) expect(inside.heard(id).map(({ payload }) => payload.seq)).toEqual([1, 2])
  })

  function heardOnce(id: string) {
    const heard = inside?.heard(id) ?? []
    expect(heard).toHaveLength(1)
    return heard
  }
}

function uploadedPayload(object: MediaObject) {
  return {
    id: object.id,
    userId: object.userId,
    url: object.url,
    key: object.key,
    mimeType: object.mimeType,
    sizeBytes: object.sizeBytes,
    width: object.metadata.width,
    height: object.metadata.height,
    originalName: object.originalName,
    eventId: expect.stringMatching(UUID),
    seq: 1,
    occurredAt: expect.stringMatching(TIME),
  }
}
