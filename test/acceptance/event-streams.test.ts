import { afterAll, describe, expect, test } from 'bun:test'
import { expectProblem, newUser, tokenFor, until } from '../support/http/client.ts'
import { type EventSource, eventsOf, listen } from '../support/http/event-source.ts'
import { openStage } from '../support/process/acceptance.ts'

const stage = await openStage({ RATE_LIMIT_PER_MINUTE: '0' })
const { call, patch, remove, restore, uploaded } = stage
afterAll(stage.close)

const open: EventSource[] = []
afterAll(() => {
  for (const source of open) source.close()
})
async function listening(user: string, headers: Record<string, string> = {}, claims: Record<string, unknown> = {}) {
  const source = await listen(stage.baseUrl, { authorization: `Bearer ${await tokenFor(user, claims)}`, ...headers })
  open.push(source)
  return source
}

describe.concurrent('GET /media/events', () => {
  test('brings every change of the caller, in order and as it is published, and of nobody else', async () => {
    const [user, other] = [newUser(), newUser()]
    const [source, foreign] = [await listening(user), await listening(other)]
    expect([source.status, source.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
    expect(source.headers.get('cache-control')).toContain('no-store')
    expect(source.headers.get('x-accel-buffering')).toBe('no')
    const object = await uploaded(user)
    await uploaded(other, 'accept/rocket.jpg', { visibility: 'public' })
    await patch(user, object.id, { originalName: 'zwei\nZeilen: ü.jpg' })
    await remove(user, object.id)
    await restore(user, object.id)
    const events = await eventsOf(source, 4)
    const channels = ['photo:uploaded', 'photo:updated', 'photo:deleted', 'photo:restored']
    expect(events.map(({ event }) => event)).toEqual(channels)
    expect(events.map(({ data }) => [data?.id, data?.userId, data?.seq])).toEqual(
      [1, 2, 3, 4].map((seq) => [object.id, user, seq]),
    )
    expect(events[0]?.data).toMatchObject({ url: object.url, key: object.key, width: 640, mimeType: 'image/jpeg' })
    for (const { id } of source.blocks) expect(id).toMatch(/^\d+-\d+$/)
    await eventsOf(foreign, 1)
    expect(foreign.text()).not.toContain(user)
    expect(source.text()).not.toContain(other)
  })

  test('goes on after Last-Event-ID, without a gap and without anything twice', async () => {
    const user = newUser()
    const first = await listening(user)
    const before = [await uploaded(user), await uploaded(user)]
    const known = await eventsOf(first, 2)
    first.close()
    const missed = await uploaded(user)
    // From after the first, though both had come: the second again, what was missed, and what comes.
    const resumed = await listening(user, { 'last-event-id': known[0]?.id ?? '' })
    const later = await uploaded(user)
    const events = await eventsOf(resumed, 3)
    expect(events.map(({ data }) => data?.id)).toEqual([before[1]?.id, missed.id, later.id])
    expect(events[0]).toEqual(known[1])
    const ids = resumed.blocks.flatMap(({ event, id }) => (event ? [id] : []))
    expect(ids).toHaveLength(new Set(ids).size)
  })

  test('names where to resume before anything has happened', async () => {
    const user = newUser()
    const first = await listening(user)
    const [start] = await until(() => {
      expect(first.blocks).not.toEqual([])
      return first.blocks
    })
    first.close()
    expect(start?.event).toBeUndefined()
    const missed = await uploaded(user)
    const resumed = await listening(user, { 'last-event-id': start?.id ?? '' })
    const [event] = await eventsOf(resumed, 1)
    expect(event?.data?.id).toBe(missed.id)
  })

  test.each(['x', '1', '1-', '-1', '1-1-1', ' ', '1234567890123456-0', '$', '+', '1-1 '.repeat(3)])(
    'refuses the Last-Event-ID %p',
    async (id) => {
      await expectProblem(
        await call('/media/events', { as: newUser(), headers: { 'last-event-id': id } }),
        400,
        'request_invalid',
      )
    },
  )

  test.each(['1-1', '999999999999999-1'])(
    'tells who resumes from an id that is not known (%s) to begin anew',
    async (id) => {
      const user = newUser()
      const before = await listening(user)
      await uploaded(user)
      await eventsOf(before, 1)
      const source = await listening(user, { 'last-event-id': id })
      const object = await uploaded(user)
      const [reset, event] = await eventsOf(source, 2)
      expect(reset).toEqual({ id: expect.stringMatching(/^\d+-\d+$/), event: 'reset', data: {} })
      expect(event?.data?.id).toBe(object.id)
    },
  )
})
