import { afterAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { thumbHashToApproximateAspectRatio } from 'thumbhash'
import { answered, type MediaObject, newUser, type SignedMediaObject, until } from '../support/http/client.ts'
import { backend, openStage } from '../support/process/acceptance.ts'

// Upkeep runs as often as this is short.
const stage = await openStage({ PENDING_SECONDS: '4', ALLOWED_TYPES: 'image/jpeg,video/mp4' })
afterAll(stage.close)

const { get, inside, page, uploaded } = stage
const nothing = { thumbHash: null, dominantColor: null }

test('a new object has no placeholder yet, and what is no picture has no dimensions either', async () => {
  const user = newUser()
  const picture = await uploaded(user)
  expect(picture.metadata).toEqual({ width: 640, height: 427, ...nothing })
  const film = await uploaded(user, 'accept/clip.mp4')
  expect(film.metadata).toEqual({ width: null, height: null, ...nothing })
  expect((await answered<SignedMediaObject>(200, await get(user, film.id))).metadata).toEqual(film.metadata)
  expect((await page(user)).items.map(({ metadata }) => metadata)).toEqual([film.metadata, picture.metadata])
})

test('the first rendition of a picture brings its placeholder, and tells nobody', async () => {
  const user = newUser()
  const { id } = await uploaded(user)
  expect((await stage.call(`/media/${id}/content?w=320`, { as: user })).status).toBe(302)
  const { metadata } = await until(async () => {
    const found = await answered<SignedMediaObject>(200, await get(user, id))
    expect(found.metadata.thumbHash).not.toBeNull()
    return found
  })
  expect(metadata).toEqual({
    ...{ width: 640, height: 427 },
    ...{ thumbHash: expect.any(String), dominantColor: expect.stringMatching(/^#[0-9a-f]{6}$/) },
  })
  if (inside !== undefined) expect((await inside.rowOf(id))?.event_seq).toBe(1)
})

describe.skipIf(backend === 'embedded')('upkeep', () => {
  /** As if a minute had gone by since the upload. */
  async function age({ id }: MediaObject): Promise<void> {
    const sql = postgres(stage.env.DATABASE_URL ?? '', { max: 1 })
    await sql`UPDATE media_objects SET placeholder_due_at = now() WHERE id = ${id}`
    await sql.end()
  }

  test('makes the placeholder of a picture that nobody has looked at, and tells nobody', async () => {
    const user = newUser()
    const picture = await uploaded(user)
    await age(picture)
    const { metadata, ...rest } = await until(async () => {
      const found = await answered<SignedMediaObject>(200, await get(user, picture.id))
      expect(found.metadata.thumbHash).not.toBeNull()
      return found
    }, 25_000)
    expect(metadata).toMatchObject({ width: 640, height: 427, dominantColor: '#112d4f' })
    const ratio = thumbHashToApproximateAspectRatio(Buffer.from(metadata.thumbHash ?? '', 'base64'))
    expect(Math.abs(ratio - 640 / 427)).toBeLessThan(0.2)
    const { metadata: _, ...before } = picture
    expect(rest).toMatchObject(before)
    expect((await page(user)).items[0]?.metadata).toEqual(metadata)
    expect((await inside?.rowOf(picture.id))?.event_seq).toBe(1)
  }, 40_000)
})
