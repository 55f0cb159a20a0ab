/** What renditions are to their owner and to strangers: links, quota, and what becomes of one that the store lost. */
import { afterAll, describe, expect, test } from 'bun:test'
import { DeleteObjectCommand } from '@aws-sdk/client-s3'
import { answered, expectProblem, type MediaObject, newUser, type SignedMediaObject } from '../support/http/client.ts'
import { askRendition, seen } from '../support/http/renditions.ts'
import { DEFAULT_TYPES, readCorpus } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'
import { repository } from '../support/repository.ts'
import { s3Client } from '../support/services/buckets.ts'

const stage = await openStage({
  RENDITION_SIZES: '100,200,400,800',
  ALLOWED_TYPES: [...DEFAULT_TYPES, 'video/mp4'].join(),
})
afterAll(stage.close)
const { inside } = stage
const [rocket, WIDTH, HEIGHT] = ['accept/rocket.jpg', 640, 427]

/** Asks for a rendition, and follows to its bytes. */
const rendition = (id: string, query: string, how: { as?: string; accept?: string } = {}) =>
  askRendition(stage, id, query, how)

type Linked = SignedMediaObject & { renditions: { width: number; height: number; url: string }[] }

const keysOf = async (id: string) => ((await inside?.keys()) ?? []).filter((key) => key.startsWith(`media/${id}/`))

describe('links for an <img srcset>', () => {
  test('show a private picture in the widths asked for, without a token, on one object and on the list', async () => {
    const user = newUser()
    const { id } = await stage.uploaded(user, rocket)
    const one = await answered<Linked>(200, await stage.call(`/media/${id}?renditions=150,300,5000`, { as: user }))
    const sizes = [
      [200, 133],
      [400, 267],
      [WIDTH, HEIGHT],
    ]
    expect(one.renditions.map(({ width, height }) => [width, height])).toEqual(sizes)
    for (const { width, height, url } of one.renditions) {
      expect(url).toStartWith(`${stage.baseUrl}/media/${id}/content?w=`)
      expect(await seen(await fetch(url, { headers: { accept: 'image/webp' } }))).toMatchObject({
        type: 'image/webp',
        width,
        height,
      })
    }
    const list = await answered<{ items: Linked[] }>(200, await stage.call('/media?renditions=150', { as: user }))
    expect(list.items.map(({ renditions }) => renditions.map(({ width }) => width))).toEqual([[200]])
    // The same for a while, so that browsers find what they have.
    expect(list.items[0]?.renditions[0]?.url).toBe(one.renditions[0]?.url ?? '')
    const byId = await answered<{ items: Linked[] }>(
      200,
      await stage.call(`/media?ids=${id}&renditions=150`, { as: user }),
    )
    expect(byId.items[0]?.renditions.length).toBe(1)
    expect(await answered<Linked>(200, await stage.get(user, id))).not.toHaveProperty('renditions')
  })

  test('are none for what is no picture', async () => {
    const user = newUser()
    const { id } = await stage.uploaded(user, 'accept/clip.mp4')
    const film = await answered<Linked>(200, await stage.call(`/media/${id}?renditions=150`, { as: user }))
    expect(film.renditions).toEqual([])
  })

  test('allow what they say and nothing else', async () => {
    const user = newUser()
    const [{ id }, other] = [await stage.uploaded(user, rocket), await stage.uploaded(newUser(), rocket)]
    const { renditions } = await answered<Linked>(200, await stage.call(`/media/${id}?renditions=150`, { as: user }))
    const { pathname, search } = new URL(renditions[0]?.url ?? '')
    const forged = [
      pathname.replace(id, other.id) + search,
      pathname + search.replace('w=200', 'w=400'),
      pathname + search.replace(/expires=\d+/, (found) => `${found}0`),
      pathname + search.replace(/signature=./, 'signature='),
      `${pathname + search}&h=100`,
      `${pathname + search}&format=png`,
      `${pathname + search}&download`,
      pathname + search.replace(/w=200&/, ''),
      `${pathname}?w=200&expires=9999999999`,
      `${pathname}?signature=x`,
    ]
    for (const path of forged) await expectProblem(await stage.call(path), 403, 'forbidden')
    expect((await stage.call(pathname + search)).status).toBe(302)
    // Whether there ever was such an object, nobody learns.
    await expectProblem(await stage.call(`/media/${crypto.randomUUID()}/content${search}`), 403, 'forbidden')
    expect((await stage.remove(user, id)).status).toBe(204)
    expect((await stage.call(pathname + search)).status).toBe(404)
  })
})

describe('strangers', () => {
  test('get widths only, and 162 of their requests take no slot from the owner', async () => {
    const user = newUser()
    const { id } = await answered<MediaObject>(
      201,
      await stage.upload(user, await readCorpus(rocket), { fields: { visibility: 'public' } }),
    )
    const queries = [100, 200, 400].flatMap((w) =>
      ['', '&format=avif', '&format=png'].flatMap((format) =>
        ['', '&q=50', '&q=95'].flatMap((q) =>
          ['', '&fit=cover&h=100'].flatMap((fit) =>
            ['avif', 'webp', '*'].map((as) => [`w=${w}${format}${q}${fit}`, as]),
          ),
        ),
      ),
    )
    expect(queries.length).toBe(162)
    for (const [query = '', as] of queries) {
      const response = await stage.call(`/media/${id}/content?${query}`, { headers: { accept: `image/${as}` } })
      if (query.includes('&')) await expectProblem(response, 403, 'link_required')
      else expect([response.status, await response.text()]).toEqual([302, ''])
    }
    const { renditions } = await answered<Linked>(
      200,
      await stage.call(`/media/${id}?renditions=100,200,400,800`, { as: user }),
    )
    expect(renditions.length).toBe(4)
    for (const { width, url } of renditions) expect(await seen(await fetch(url))).toMatchObject({ width })
    // Of what is refused, nobody learns whether it is there.
    await expectProblem(await stage.call(`/media/${crypto.randomUUID()}/content?w=100&q=50`), 401, 'token_missing')
    const { bytes } = await answered<{ bytes: number }>(200, await stage.call('/media/usage', { as: user }))
    // The links' own; what strangers had made is not the owner's.
    expect(bytes).toBeLessThan((await readCorpus(rocket)).length + 400_000)
  }, 60_000)
})

describe('a quota', () => {
  test('has to have room for renditions; without, nothing is left of them', async () => {
    const size = (await readCorpus(rocket)).length
    const tight = await openStage({ QUOTA_BYTES: String(size + 6000), RENDITION_SIZES: '100,800' })
    try {
      const user = newUser()
      const { id, key } = await tight.uploaded(user, rocket)
      expect(await seen(await askRendition(tight, id, 'w=100&format=webp', { as: user }))).toMatchObject({
        width: 100,
      })
      await expectProblem(await askRendition(tight, id, 'w=800&format=png', { as: user }), 429, 'quota_exceeded')
      const { bytes } = await answered<{ bytes: number }>(200, await tight.call('/media/usage', { as: user }))
      expect(bytes).toBeLessThanOrEqual(size + 6000)
      const keys = await tight.inside?.keys()
      if (keys) expect([keys.length, keys.includes(key)]).toEqual([2, true])
    } finally {
      await tight.close()
    }
  }, 120_000)
})

test('a rendition that the store lost is made again after bun run reconcile --fix', async () => {
  if (inside === undefined) return
  const user = newUser()
  const { id, key } = await stage.uploaded(user, rocket)
  await seen(await rendition(id, 'w=100&format=webp', { as: user }))
  const reconcile = (...options: string[]) =>
    Bun.$`${process.execPath} --no-env-file src/cli/reconcile.ts ${options}`
      .cwd(repository)
      .env({ PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...stage.env })
      .nothrow()
      .text()
  expect(await reconcile()).not.toContain(id)
  const lost = (await keysOf(id)).find((one) => one !== key) ?? ''
  const s3 = await s3Client()
  await s3.send(new DeleteObjectCommand({ Bucket: stage.env.S3_BUCKET ?? '', Key: lost }))
  s3.destroy()
  expect(await reconcile('--fix')).toContain(`rendition lost, to be made again: ${id} (${lost})`)
  expect(await seen(await rendition(id, 'w=100&format=webp', { as: user }))).toMatchObject({ width: 100 })
  expect(await reconcile()).not.toContain(id)
}, 120_000)
