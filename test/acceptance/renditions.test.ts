import { afterAll, describe, expect, test } from 'bun:test'
import {
  answered,
  createClient,
  expectBytes,
  expectProblem,
  type MediaObject,
  newUser,
  type SignedMediaObject,
  until,
} from '../support/http/client.ts'
import { askRendition, seen } from '../support/http/renditions.ts'
import { DEFAULT_TYPES, readCorpus } from '../support/pictures/corpus.ts'
import { openStage, runtime } from '../support/process/acceptance.ts'
import { runUpkeep, startService } from '../support/process/service.ts'

const RETENTION_SECONDS = 2
const stage = await openStage({
  RENDITION_SIZES: '100,200,400,800',
  ALLOWED_TYPES: [...DEFAULT_TYPES, 'video/mp4'].join(),
  RETENTION_SECONDS: String(RETENTION_SECONDS),
})
afterAll(stage.close)
const { inside } = stage
const [rocket, WIDTH, HEIGHT] = ['accept/rocket.jpg', 640, 427]

/** Asks for a rendition, and follows to its bytes. */
const rendition = (id: string, query: string, how: { as?: string; accept?: string } = {}) =>
  askRendition(stage, id, query, how)

const keysOf = async (id: string) => ((await inside?.keys()) ?? []).filter((key) => key.startsWith(`media/${id}/`))

describe('a rendition', () => {
  test('is of the best format that Accept names, and says that it depends on it', async () => {
    const user = newUser()
    const { id } = await stage.uploaded(user, rocket)
    const type = async (accept: string, query = 'w=100') => {
      const response = await rendition(id, query, { as: user, accept })
      expect(response.headers.get('x-vary')?.includes('accept')).toBe(!query.includes('format='))
      return (await seen(response)).type
    }
    expect(await type('image/avif,image/webp,image/png,image/*;q=0.8,*/*;q=0.5')).toBe('image/avif')
    expect(await type('image/webp,*/*')).toBe('image/webp')
    expect(await type('image/avif;q=0, image/webp')).toBe('image/webp')
    expect(await type('*/*')).toBe('image/jpeg')
    expect(await type('image/avif', 'w=100&format=png')).toBe('image/png')
  })

  test('is made once, under a key of its own, and counted as its owner’s', async () => {
    const user = newUser()
    const { id, key, sizeBytes } = await stage.uploaded(user, rocket)
    const queries = [
      'w=150&format=webp',
      'w=200&format=webp',
      'w=200&h=400&format=webp&q=70',
      'w=199&fit=inside&format=webp',
    ]
    const answers = await Promise.all(queries.map((query) => rendition(id, query, { as: user })))
    const [first, ...others] = await Promise.all(answers.map(seen))
    for (const other of others) expect(Buffer.compare(other.bytes, first?.bytes ?? new Uint8Array())).toBe(0)
    const { bytes } = await answered<{ bytes: number }>(200, await stage.call('/media/usage', { as: user }))
    expect(bytes).toBe(sizeBytes + (first?.bytes.length ?? 0))
    if (inside === undefined) return
    const keys = await keysOf(id)
    expect(keys.length).toBe(2)
    expect(keys).toContain(key)
  })

  test('is the same one, when several replicas are asked at once', async () => {
    if (inside === undefined) return
    const second = await startService({ runtime, env: stage.env })
    try {
      const user = newUser()
      const { id } = await stage.uploaded(user, 'accept/hubble.jpg')
      const replicas = [stage, createClient(second.baseUrl)]
      const asked = [...replicas, ...replicas, ...replicas]
      const answers = await Promise.all(asked.map((on) => askRendition(on, id, 'w=800&format=avif', { as: user })))
      for (const answer of answers) expect(await seen(answer)).toMatchObject({ type: 'image/avif' })
      expect((await keysOf(id)).length).toBe(2)
    } finally {
      await second.stop()
    }
  }, 60_000)

  test('brings the placeholder, when it is the first', async () => {
    const user = newUser()
    for (const file of [rocket, 'accept/astronaut.png']) {
      const { id } = await stage.uploaded(user, file)
      await seen(await rendition(id, 'w=200&format=webp', { as: user }))
      await until(async () => {
        const { metadata } = await answered<MediaObject>(200, await stage.get(user, id))
        expect(metadata).toMatchObject({ thumbHash: expect.any(String), dominantColor: expect.stringMatching(/^#/) })
      }, 2000)
    }
  })

  test('is never more than there is', async () => {
    const user = newUser()
    const { id } = await stage.uploaded(user, rocket)
    for (const query of ['w=9999', 'h=800', 'w=800&h=800&fit=inside', 'format=jpeg'])
      expect(await seen(await rendition(id, query, { as: user }))).toMatchObject({ width: WIDTH, height: HEIGHT })
    expect(await seen(await rendition(id, 'w=800&h=800&fit=cover', { as: user }))).toMatchObject({
      width: HEIGHT,
      height: HEIGHT,
    })
  })

  test('is refused for what is no picture, for a picture that cannot be decoded, and for nonsense', async () => {
    const user = newUser()
    const film = await stage.uploaded(user, 'accept/clip.mp4')
    await expectProblem(await rendition(film.id, 'w=100', { as: user }), 415, 'media_type_unsupported')
    const whole = await readCorpus('accept/cat.webp')
    const torn = await answered<MediaObject>(201, await stage.upload(user, whole.slice(0, 10_000)))
    await expectProblem(await rendition(torn.id, 'w=100', { as: user }), 422, 'image_unreadable')
    const { id } = await stage.uploaded(user, rocket)
    for (const query of ['w=0', 'w=-1', 'w=1e9', 'h=x', 'q=0', 'q=101', 'fit=fill', 'format=gif'])
      await expectProblem(await rendition(id, query, { as: user }), 400, 'request_invalid')
    if (inside === undefined) return
    expect((await keysOf(torn.id)).length).toBe(1)
    expect((await inside.rowOf(torn.id)) as unknown).toMatchObject({ renditions: {}, rendition_bytes: 0 })
  })

  test('comes with the parameters that others add to links, and with the whole name of its file', async () => {
    const user = newUser()
    const bytes = await readCorpus(rocket)
    const named = { fields: { visibility: 'public' }, name: 'Report v1.2 final draft' }
    const { id } = await answered<MediaObject>(201, await stage.upload(user, bytes, named))
    const redirect = await stage.call(`/media/${id}/content?fbclid=x&utm_source=y&w=160&download`)
    expect(redirect.status).toBe(302)
    const location = redirect.headers.get('location') ?? ''
    expect(location).not.toMatch(/fbclid|utm_source/)
    const { headers } = await fetch(location)
    expect(headers.get('content-disposition')).toMatch(/^attachment; filename="Report v1\.2 final draft\.(png|jpeg)"$/)
    type Linked = { renditions: { url: string }[] }
    const { renditions } = await answered<Linked>(200, await stage.call(`/media/${id}?renditions=160`, { as: user }))
    const link = renditions[0]?.url ?? ''
    for (const [added, status] of [
      ['&fbclid=x', 302],
      ['&format=png', 403],
      ['&h=160', 403],
    ] as const)
      expect([added, (await fetch(link + added, { redirect: 'manual' })).status]).toEqual([added, status])
  })

  test('is served to the owner of a private picture, and to everyone for a public one', async () => {
    const user = newUser()
    const { id } = await stage.uploaded(user, rocket)
    await expectProblem(await rendition(id, 'w=100'), 401, 'token_missing')
    await expectProblem(await rendition(id, 'w=100', { as: newUser() }), 404, 'not_found')
    await answered(200, await stage.patch(user, id, { visibility: 'public' }))
    expect(await seen(await rendition(id, 'w=100'))).toMatchObject({ width: 100 })
    await answered(200, await stage.patch(user, id, { visibility: 'private' }))
    await expectProblem(await rendition(id, 'w=100'), 401, 'token_missing')
  })

  test('goes with its picture', async () => {
    const user = newUser()
    const { id } = await stage.uploaded(user, rocket)
    await seen(await rendition(id, 'w=100', { as: user }))
    expect((await stage.remove(user, id)).status).toBe(204)
    await expectProblem(await rendition(id, 'w=100', { as: user }), 404, 'not_found')
    expect((await stage.restore(user, id)).status).toBe(200)
    await seen(await rendition(id, 'w=100', { as: user }))
    expect((await stage.remove(user, id)).status).toBe(204)
    if (inside === undefined) return
    await Bun.sleep(RETENTION_SECONDS * 1000)
    await until(async () => {
      await runUpkeep(stage.env)
      expect(await keysOf(id)).toEqual([])
    }, 20_000)
  }, 120_000)
})

test('the owner still gets the very bytes', async () => {
  const user = newUser()
  const { id } = await stage.uploaded(user, rocket)
  await seen(await rendition(id, 'w=100', { as: user }))
  const { signedUrl } = await answered<SignedMediaObject>(200, await stage.get(user, id))
  await expectBytes(await fetch(signedUrl), await readCorpus(rocket))
})
