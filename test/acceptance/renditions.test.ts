import { afterAll, describe, expect, test } from 'bun:test'
import { DeleteObjectCommand } from '@aws-sdk/client-s3'
import sharp from 'sharp'
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
import { accepted, DEFAULT_TYPES, readCorpus } from '../support/pictures/corpus.ts'
import { openStage, runtime, type Stage } from '../support/process/acceptance.ts'
import { residentOf } from '../support/process/process-memory.ts'
import { runUpkeep, startService } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'
import { s3Client } from '../support/services/buckets.ts'

const RETENTION_SECONDS = 2
const stage = await openStage({
  RENDITION_SIZES: '100,200,400,800',
  ALLOWED_TYPES: [...DEFAULT_TYPES, 'video/mp4'].join(),
  RETENTION_SECONDS: String(RETENTION_SECONDS),
})
afterAll(stage.close)
const { inside } = stage

type Linked = SignedMediaObject & { renditions: { width: number; height: number; url: string }[] }

const pictures = accepted.filter(({ type }) => DEFAULT_TYPES.has(type))
const [rocket, WIDTH, HEIGHT] = ['accept/rocket.jpg', 640, 427]

/** Asks for a rendition, and follows to its bytes. */
async function rendition(
  id: string,
  query: string,
  { as, accept = '*/*', on = stage }: { as?: string; accept?: string; on?: Pick<Stage, 'call'> } = {},
): Promise<Response> {
  const options = { headers: { accept }, ...(as !== undefined && { as }) }
  const response = await on.call(`/media/${id}/content?${query}`, options)
  if (response.status !== 302) return response
  await response.body?.cancel()
  const made = await fetch(response.headers.get('location') ?? '')
  made.headers.set('x-vary', response.headers.get('vary') ?? '')
  return made
}

async function seen(response: Response) {
  expect(response.status).toBe(200)
  const bytes = new Uint8Array(await response.arrayBuffer())
  const { width, pageHeight, height, pages = 1, format, ...rest } = await sharp(bytes, { animated: true }).metadata()
  const { exif, xmp, iptc, icc, comments, space } = rest
  expect({ exif, xmp, iptc, icc, comments }).toEqual({
    exif: undefined,
    xmp: undefined,
    iptc: undefined,
    icc: undefined,
    comments: undefined,
  })
  return {
    type: response.headers.get('content-type'),
    width,
    height: pageHeight ?? height,
    pages,
    format,
    space,
    bytes,
  }
}

const keysOf = async (id: string) => ((await inside?.keys()) ?? []).filter((key) => key.startsWith(`media/${id}/`))

describe('a picture of the corpus', () => {
  test.each(pictures)(
    '$file, in every format and fit: of the right size, upright, without metadata',
    async (picture) => {
      const user = newUser()
      const { id } = await stage.uploaded(user, picture.file)
      const [width, height] = [picture.width ?? 0, picture.height ?? 0]
      for (const format of ['avif', 'webp', 'jpeg', 'png']) {
        const inside = await seen(await rendition(id, `w=150&format=${format}`, { as: user }))
        const scale = Math.min(1, 200 / width)
        expect(inside).toMatchObject({
          type: `image/${format}`,
          width: Math.max(1, Math.round(width * scale)),
          height: Math.max(1, Math.round(height * scale)),
          space: format === 'png' ? expect.any(String) : expect.stringMatching(/srgb|b-w/),
        })
        const cover = await seen(await rendition(id, `w=100&h=70&fit=cover&format=${format}`, { as: user }))
        const side = Math.min(100, width, height)
        expect([cover.width, cover.height]).toEqual([side, side])
      }
    },
    60_000,
  )
})

describe('a rendition', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('is upright for orientation %d', async (orientation) => {
    const turned = orientation > 4
    // Red above, blue below, as a person is to see it.
    const upright = sharp({ create: { width: 60, height: 40, channels: 3, background: '#f00' } }).composite([
      { input: { create: { width: 60, height: 20, channels: 3, background: '#00f' } }, top: 20, left: 0 },
    ])
    const raw = await unturned(await upright.png().toBuffer(), orientation)
    const bytes = new Uint8Array(await sharp(raw).withMetadata({ orientation }).jpeg({ quality: 100 }).toBuffer())
    const stored = await sharp(bytes).metadata()
    expect([stored.width, stored.height, stored.orientation]).toEqual(
      turned ? [40, 60, orientation] : [60, 40, orientation],
    )
    const user = newUser()
    const { id } = await answered<MediaObject>(201, await stage.upload(user, bytes))
    const made = await seen(await rendition(id, 'w=100&format=png', { as: user }))
    expect([made.width, made.height]).toEqual([60, 40])
    const at = (y: number) => sharp(made.bytes).extract({ left: 30, top: y, width: 1, height: 1 }).raw().toBuffer()
    const [above, below] = [await at(5), await at(34)]
    expect(above[0]).toBeGreaterThan(200)
    expect(below[2]).toBeGreaterThan(200)
  })

  test('keeps the colours of a wide-gamut picture in sRGB', async () => {
    const colour = { r: 200, g: 40, b: 60 }
    const flat = sharp({ create: { width: 50, height: 50, channels: 3, background: colour } })
    const bytes = new Uint8Array(await flat.withIccProfile('p3').jpeg({ quality: 100 }).toBuffer())
    expect((await sharp(bytes).metadata()).icc).toBeDefined()
    const user = newUser()
    const { id } = await answered<MediaObject>(201, await stage.upload(user, bytes))
    const made = await seen(await rendition(id, 'format=png', { as: user }))
    const [r = 0, g = 0, b = 0] = await sharp(made.bytes).raw().toBuffer()
    for (const [is, was] of [
      [r, colour.r],
      [g, colour.g],
      [b, colour.b],
    ] as const)
      expect(Math.abs(is - was)).toBeLessThan(6)
  })

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

  test('is animated where the format supports it, and else shows one frame', async () => {
    const user = newUser()
    const { id } = await stage.uploaded(user, 'accept/three-frames-120x80.gif')
    expect(await seen(await rendition(id, 'w=100', { as: user, accept: 'image/avif,image/webp' }))).toMatchObject({
      ...{ type: 'image/webp', pages: 3, width: 100, height: 67 },
    })
    expect(await seen(await rendition(id, 'w=100', { as: user }))).toMatchObject({ type: 'image/png', pages: 1 })
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
      const answers = await Promise.all(asked.map((on) => rendition(id, 'w=800&format=avif', { as: user, on })))
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
    const whole = await readCorpus(rocket)
    const torn = await answered<MediaObject>(201, await stage.upload(user, whole.slice(0, 20_000)))
    await expectProblem(await rendition(torn.id, 'w=100', { as: user }), 422, 'image_unreadable')
    const { id } = await stage.uploaded(user, rocket)
    for (const query of ['w=0', 'w=-1', 'w=1e9', 'h=x', 'q=0', 'q=101', 'fit=fill', 'format=gif', 'blur=3'])
      await expectProblem(await rendition(id, query, { as: user }), 400, 'request_invalid')
    if (inside === undefined) return
    expect((await keysOf(torn.id)).length).toBe(1)
    expect((await inside.rowOf(torn.id)) as unknown).toMatchObject({ renditions: {}, rendition_bytes: 0 })
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

  test('that the store lost is made again after bun run reconcile --fix', async () => {
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

  test('32 at once stay within the memory of two', async () => {
    if (process.platform !== 'linux') return
    const noise = sharp({
      create: {
        width: 4000,
        height: 3000,
        channels: 3,
        background: '#888',
        noise: { type: 'gaussian', mean: 128, sigma: 20 },
      },
    })
    const bytes = new Uint8Array(await noise.jpeg({ quality: 80 }).toBuffer())
    const user = newUser()
    const ids = await Promise.all(
      Array.from({ length: 8 }, async () => (await answered<MediaObject>(201, await stage.upload(user, bytes))).id),
    )
    await seen(await rendition(ids[0] ?? '', 'w=100&format=webp', { as: user }))
    const before = await residentOf(stage.service.pid)
    let peak = 0
    const watch = setInterval(async () => {
      peak = Math.max(peak, await residentOf(stage.service.pid))
    }, 20)
    const queries = ['w=800&format=webp', 'w=400&format=webp', 'w=800&format=jpeg', 'w=200&format=webp']
    const answers = await Promise.all(ids.flatMap((id) => queries.map((query) => rendition(id, query, { as: user }))))
    clearInterval(watch)
    for (const answer of answers) await seen(answer)
    expect(peak - before).toBeLessThan(250 * 1024 * 1024)
  }, 60_000)
})

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
      expect(await seen(await rendition(id, 'w=100&format=webp', { as: user, on: tight }))).toMatchObject({
        width: 100,
      })
      await expectProblem(await rendition(id, 'w=800&format=png', { as: user, on: tight }), 429, 'quota_exceeded')
      const { bytes } = await answered<{ bytes: number }>(200, await tight.call('/media/usage', { as: user }))
      expect(bytes).toBeLessThanOrEqual(size + 6000)
      const keys = await tight.inside?.keys()
      if (keys) expect([keys.length, keys.includes(key)]).toEqual([2, true])
    } finally {
      await tight.close()
    }
  }, 120_000)
})

test('the owner still gets the very bytes', async () => {
  const user = newUser()
  const { id } = await stage.uploaded(user, rocket)
  await seen(await rendition(id, 'w=100', { as: user }))
  const { signedUrl } = await answered<SignedMediaObject>(200, await stage.get(user, id))
  await expectBytes(await fetch(signedUrl), await readCorpus(rocket))
})

/** The pixels as a camera that was held so stores them (EXIF 2.32, tag Orientation). */
async function unturned(upright: Buffer, orientation: number): Promise<Buffer> {
  const degrees = { 3: 180, 5: 90, 6: 270, 7: 270, 8: 90 }[orientation] ?? 0
  const turned = sharp(await sharp(upright).rotate(degrees).png().toBuffer())
  if (orientation === 4) return turned.flip().png().toBuffer()
  return [2, 5, 7].includes(orientation) ? turned.flop().png().toBuffer() : turned.png().toBuffer()
}
