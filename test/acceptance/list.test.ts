import { beforeAll, describe, expect, test } from 'bun:test'
import {
  expectBytes,
  expectInvalid,
  expectProblem,
  type MediaObject,
  newUser,
  type Page,
} from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { usualStage } from '../support/process/acceptance.ts'

const { call, page, presigned, remove, uploaded } = await usualStage()

const user = newUser()
/** The user's objects, oldest first: png, gif, png, gif, … */
const objects: MediaObject[] = []
const newestFirst = () => objects.map(({ id }) => id).reverse()
const idsOf = ({ items }: Page) => items.map(({ id }) => id)

beforeAll(async () => {
  for (let i = 0; i < 22; i += 1)
    objects.push(await uploaded(user, i % 2 === 0 ? 'accept/astronaut.png' : 'accept/three-frames-120x80.gif'))
  await uploaded(newUser())
  await presigned(user)
})

describe('the list', () => {
  test('has the newest 20 of the own objects, each in full and with a link that works', async () => {
    const { items, nextCursor } = await page(user)
    expect(items.map(({ id }) => id)).toEqual(newestFirst().slice(0, 20))
    expect(nextCursor).toBe(items.at(-1)?.id ?? '')
    const newest = objects.at(-1)
    expect(items[0]).toEqual({ ...newest!, signedUrl: expect.any(String), signedUrlExpiresAt: expect.any(String) })
    await expectBytes(await fetch(items[0]?.signedUrl ?? ''), await readCorpus('accept/three-frames-120x80.gif'))
  })

  test('is empty, with null as nextCursor, for somebody without objects', async () => {
    const response = await call('/media', { as: newUser() })
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(await response.json()).toEqual({ items: [], nextCursor: null })
  })

  test.each([1, 5, 11, 21, 22, 100])('gives every object once in pages of %d', async (limit) => {
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const found: Page = await page(user, `?limit=${limit}${cursor === null ? '' : `&cursor=${cursor}`}`)
      expect(found.items.length).toBeLessThanOrEqual(limit)
      seen.push(...idsOf(found))
      cursor = found.nextCursor
    } while (cursor !== null)
    expect(seen).toEqual(newestFirst())
  })

  test('does not repeat or skip anything when objects come and go between two pages', async () => {
    const somebody = newUser()
    const [first, second, third] = [await uploaded(somebody), await uploaded(somebody), await uploaded(somebody)]
    const start = await page(somebody, '?limit=2')
    expect(idsOf(start)).toEqual([third.id, second.id])
    await uploaded(somebody)
    await remove(somebody, second.id)
    expect(await page(somebody, `?limit=2&cursor=${start.nextCursor}`)).toMatchObject({
      items: [{ id: first.id }],
      nextCursor: null,
    })
  })

  test.each(['0', '101', '-1', '1.5', 'ten', '', '1e9', '%00', 'NaN'])('refuses %p as limit', async (limit) => {
    await expectInvalid(await call(`/media?limit=${limit}`, { as: user }), 'limit')
  })

  test.each(['x', '7', '', '%00', '00000000-0000-0000-0000-00000000000g'])('refuses %p as cursor', async (cursor) => {
    await expectInvalid(await call(`/media?cursor=${cursor}`, { as: user }), 'cursor')
  })

  test.each(['status=active&status=deleted', 'limit=1&limit=2', 'type=image/png&type=image/gif'])(
    'refuses a parameter given twice: %s',
    async (query) => {
      await expectInvalid(await call(`/media?${query}`, { as: user }), query.slice(0, query.indexOf('=')))
    },
  )

  test('names every parameter that is wrong or unknown', async () => {
    await expectInvalid(await call('/media?limit=0&status=gone&user=me', { as: user }), 'limit', 'status', 'user')
  })
})

describe('the list by type', () => {
  test('has those of a type, or of a family', async () => {
    const ofType = (type: string) => objects.filter(({ mimeType }) => mimeType === type).map(({ id }) => id)
    expect(idsOf(await page(user, '?type=image/png'))).toEqual(ofType('image/png').reverse())
    expect(idsOf(await page(user, '?type=image/gif&limit=3'))).toEqual(ofType('image/gif').reverse().slice(0, 3))
    expect(idsOf(await page(user, '?type=image/*&limit=100'))).toEqual(newestFirst())
    expect(idsOf(await page(user, '?type=video/*'))).toEqual([])
    expect(idsOf(await page(user, '?type=image/p'))).toEqual([])
  })

  test.each(['image', '*/*', 'image%', 'image/%25', "image/'png", '%00', 'image/png%00', `image/${'a'.repeat(130)}`])(
    'refuses %p',
    async (type) => {
      await expectInvalid(await call(`/media?type=${type}`, { as: user }), 'type')
    },
  )
})

describe('the bin', () => {
  test('lists what was deleted and only that, in pages too', async () => {
    const somebody = newUser()
    const [kept, first, second] = [await uploaded(somebody), await uploaded(somebody), await uploaded(somebody)]
    await remove(somebody, second.id)
    await remove(somebody, first.id)
    expect(idsOf(await page(somebody))).toEqual([kept.id])
    expect(idsOf(await page(somebody, '?status=active'))).toEqual([kept.id])
    const start = await page(somebody, '?status=deleted&limit=1')
    expect(start).toMatchObject({ items: [{ id: second.id, status: 'deleted' }], nextCursor: second.id })
    expect(await page(somebody, `?status=deleted&limit=1&cursor=${second.id}`)).toMatchObject({
      items: [{ id: first.id, status: 'deleted' }],
      nextCursor: null,
    })
  })

  test.each(['pending', 'purging', 'ACTIVE', '', '%00'])('is not asked for with status=%p', async (status) => {
    await expectInvalid(await call(`/media?status=${status}`, { as: user }), 'status')
  })
})

describe('the list by ids', () => {
  test('has those that are the own active ones, newest first, each once', async () => {
    const foreign = await uploaded(newUser(), 'accept/rocket.jpg', { visibility: 'public' })
    const somebody = newUser()
    const [first, deleted, third] = [await uploaded(somebody), await uploaded(somebody), await uploaded(somebody)]
    await remove(somebody, deleted.id)
    const pending = await presigned(somebody)
    const asked = [first, deleted, foreign, third, pending, first].map(({ id }) => id)
    const found = await page(somebody, `?ids=${[...asked, crypto.randomUUID()].join(',')}`)
    expect(found).toEqual({
      items: [expect.objectContaining({ ...third }), expect.objectContaining({ ...first })],
      nextCursor: null,
    })
  })

  test('takes 100 ids and not more', async () => {
    const more = Array.from({ length: 100 - objects.length }, () => crypto.randomUUID())
    const hundred = [...objects.map(({ id }) => id), ...more].join(',')
    expect(idsOf(await page(user, `?ids=${hundred}`))).toEqual(newestFirst())
    await expectInvalid(await call(`/media?ids=${hundred},${crypto.randomUUID()}`, { as: user }), 'ids')
  })

  test('goes with no other parameter', async () => {
    for (const other of ['limit=5', `cursor=${objects[0]?.id}`, 'status=deleted', 'type=image/png'])
      await expectInvalid(await call(`/media?ids=${objects[0]?.id}&${other}`, { as: user }), 'ids')
  })

  test.each(['', ',', 'x', '%00', 'ID,x', 'ID,', 'ID&ids=ID'])('refuses ids=%s', async (ids) => {
    const path = `/media?ids=${ids.replaceAll('ID', objects[0]?.id ?? '')}`
    const { errors = [] } = await expectProblem(await call(path, { as: user }), 400, 'request_invalid')
    expect(errors.length).toBeGreaterThan(0)
    for (const { field } of errors) expect(field).toStartWith('ids')
  })
})
