import { afterAll, describe, expect, test } from 'bun:test'
import { crc32 } from 'node:zlib'
import sharp, { type Sharp } from 'sharp'
import {
  answered,
  expectBytes,
  expectProblem,
  type MediaObject,
  newUser,
  type Page,
  type SignedMediaObject,
  tokenFor,
  until,
} from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, openStage, type Stage } from '../support/process/acceptance.ts'
import { runUpkeep } from '../support/process/service.ts'

const TYPES = 'image/jpeg,image/png,image/webp,image/gif,image/avif,image/tiff,image/heic,video/mp4,application/pdf'
const stage = await openStage({ ALLOWED_TYPES: TYPES })
afterAll(stage.close)

/** Stands in every kind of metadata, and is looked for in whatever strangers get. */
const SECRET = 'where-she-lives'
const place = {
  GPSLatitudeRef: 'N',
  GPSLatitude: '51/1 30/1 3230/100',
  GPSLongitudeRef: 'W',
  GPSLongitude: '0/1 7/1 0/1',
}
const told = (picture: Sharp) =>
  picture
    .withExif({ IFD0: { ImageDescription: SECRET }, IFD3: place })
    .withMetadata({ orientation: 6 })
    .withXmp(`<x:xmpmeta xmlns:x="adobe:ns:meta/"><p>${SECRET}</p></x:xmpmeta>`)
const rocket = () => sharp(rocketBytes)
const rocketBytes = await readCorpus('accept/rocket.jpg')
const hubble = await readCorpus('accept/hubble.jpg')
const withComment = Uint8Array.from([
  ...rocketBytes.subarray(0, 2),
  0xff,
  0xfe,
  0,
  SECRET.length + 2,
  ...Buffer.from(SECRET),
  ...rocketBytes.subarray(2),
])
const withTrailer = new Uint8Array(Buffer.concat([rocketBytes, Buffer.from(SECRET)]))
const gif = await readCorpus('accept/three-frames-120x80.gif')
const gifComment = Buffer.concat([Buffer.from([0x21, 0xfe, SECRET.length]), Buffer.from(SECRET), Buffer.from([0])])
// Between what concerns all of an animation and its first frame.
const gifHeader = 13 + (gif[10]! & 0x80 ? 3 * 2 ** ((gif[10]! & 7) + 1) : 0)
const withGifComment = new Uint8Array(Buffer.concat([gif.subarray(0, gifHeader), gifComment, gif.subarray(gifHeader)]))

/** An animated PNG, of the same frame twice (https://www.w3.org/TR/png-3/#apng-frame-based-animation). */
async function animatedPng(commentLength: number): Promise<Uint8Array<ArrayBuffer>> {
  const u32 = (...numbers: number[]) => {
    const bytes = Buffer.alloc(4 * numbers.length)
    for (const [i, number] of numbers.entries()) bytes.writeUInt32BE(number, 4 * i)
    return bytes
  }
  const chunk = (type: string, ...data: Uint8Array[]) => {
    const body = Buffer.concat([Buffer.from(type), ...data])
    return Buffer.concat([u32(body.length - 4), body, u32(crc32(body))])
  }
  const still = await rocket().resize(60, 40).png({ compressionLevel: 9 }).toBuffer()
  const at = still.indexOf('IDAT') - 4
  const pixels = still.subarray(at + 8, at + 8 + still.readUInt32BE(at))
  const frame = (sequence: number) => chunk('fcTL', u32(sequence, 60, 40, 0, 0), Buffer.from([0, 1, 0, 10, 0, 0]))
  return new Uint8Array(
    Buffer.concat([
      still.subarray(0, 33),
      chunk('tEXt', Buffer.from(`Comment\0${SECRET}`.padEnd(commentLength))),
      chunk('acTL', u32(2, 0)),
      ...[frame(0), chunk('IDAT', pixels), frame(1), chunk('fdAT', u32(2), pixels), chunk('IEND')],
      Buffer.from(SECRET),
    ]),
  )
}

const made = async (picture: Sharp) => new Uint8Array(await picture.toBuffer())
/** Each with its metadata in it, and what everyone sees of it: width, height and frames. */
const pictures: [name: string, bytes: Uint8Array<ArrayBuffer>, seen: [number, number, number]][] = [
  ['a JPEG', await made(told(rocket()).jpeg()), [427, 640, 1]],
  ['a JPEG with a comment', withComment, [640, 427, 1]],
  ['a JPEG with something behind it', withTrailer, [640, 427, 1]],
  ['a PNG', await made(told(rocket()).png()), [427, 640, 1]],
  ['a WebP', await made(told(rocket()).webp()), [427, 640, 1]],
  ['an AVIF', await made(told(rocket()).avif({ effort: 0 })), [427, 640, 1]],
  ['a TIFF', await made(told(rocket().resize(24, 16)).tiff()), [16, 24, 1]],
  ['an animated GIF', withGifComment, [120, 80, 3]],
]

async function expectClean(response: Response, type: string, seen: [number, number, number]): Promise<void> {
  expect([response.status, response.headers.get('content-type')]).toEqual([200, type])
  const bytes = Buffer.from(await response.arrayBuffer())
  expect(bytes.includes(SECRET)).toBe(false)
  const {
    format,
    width,
    height,
    pages = 1,
    exif,
    xmp,
    iptc,
    icc,
    comments,
    orientation = 1,
    pageHeight,
  } = await sharp(bytes, { animated: true }).metadata()
  expect({ exif, xmp, iptc, icc, comments, orientation }).toEqual({ ...NOTHING, orientation: 1 })
  expect([width, pageHeight ?? height, pages]).toEqual(seen)
  expect(format).toBe(type === 'image/avif' ? 'heif' : (type.replace('image/', '') as typeof format))
}
const NOTHING = { exif: undefined, xmp: undefined, iptc: undefined, icc: undefined, comments: undefined }

const asPublic = (on: Stage, user: string, bytes: Uint8Array<ArrayBuffer>) =>
  on.upload(user, bytes, { fields: { visibility: 'public' } }).then((response) => answered<MediaObject>(201, response))
/** Where a redirect leads, for someone without credentials unless told otherwise. */
async function followed(on: Stage, path: string, as?: string): Promise<Response> {
  const redirect = await on.call(path, as === undefined ? {} : { as })
  if (redirect.status !== 302) return redirect
  return fetch(redirect.headers.get('location') ?? '')
}
const linkOf = async (on: Stage, id: string, as?: string) =>
  (await answered<SignedMediaObject>(200, await on.call(`/media/${id}`, as === undefined ? {} : { as }))).signedUrl

describe('a public picture', () => {
  for (const [name, bytes, seen] of pictures) {
    test(`${name} tells others nothing but itself, and its owner everything`, async () => {
      const [user, other] = [newUser(), newUser()]
      const { id, mimeType } = await asPublic(stage, user, bytes)
      expect(Buffer.from(bytes).includes(SECRET)).toBe(true)
      const path = `/media/${id}/content`
      // The first one of these is there before the copy is made.
      for (const viewer of [undefined, other]) {
        await expectClean(await fetch(await linkOf(stage, id, viewer)), mimeType, seen)
        await expectClean(await followed(stage, path, viewer), mimeType, seen)
        await expectClean(await followed(stage, `${path}?download`, viewer), mimeType, seen)
      }
      await expectBytes(await fetch(await linkOf(stage, id, user)), bytes)
      await expectBytes(await followed(stage, path, user), bytes)
      await expectBytes(await followed(stage, `${path}?download`, user), bytes)
      for (const query of ['', `?ids=${id}`]) {
        const { items } = await answered<Page>(200, await stage.call(`/media${query}`, { as: user }))
        await expectBytes(await fetch(items[0]?.signedUrl ?? ''), bytes)
      }
      const authorization = `Bearer ${await tokenFor(newUser(), { role: 'service' })}`
      const forService = await stage.call(path, { headers: { authorization } })
      await expectBytes(await fetch(forService.headers.get('location') ?? ''), bytes)
    })
  }

  // The animation begins within or behind the bytes that tell a file's type.
  test.each([50, 5000])(
    'that is an animated PNG, with a comment of %d bytes, goes on moving',
    async (commentLength) => {
      const bytes = await animatedPng(commentLength)
      const { id, mimeType } = await asPublic(stage, newUser(), bytes)
      expect(mimeType).toBe('image/png')
      const copy = Buffer.from(await (await followed(stage, `/media/${id}/content`)).arrayBuffer())
      expect([Buffer.from(bytes).includes(SECRET), copy.includes(SECRET)]).toEqual([true, false])
      for (const type of ['acTL', 'fcTL', 'fdAT', 'IEND']) expect(copy.includes(type)).toBe(true)
      const [before, after] = await Promise.all([bytes, copy].map((png) => sharp(png).raw().toBuffer()))
      expect(after?.equals(before!)).toBe(true)
    },
  )

  test('keeps its colours, in sRGB', async () => {
    const bytes = await readCorpus('accept/coffee-progressive-p3.jpg')
    const { id } = await asPublic(stage, newUser(), bytes)
    const copy = await (await followed(stage, `/media/${id}/content`)).arrayBuffer()
    const raw = async (picture: Sharp) => picture.toColourspace('srgb').raw().toBuffer()
    const [before, after] = await Promise.all([raw(sharp(bytes)), raw(sharp(copy))])
    const far = before.reduce((sum, value, at) => sum + Math.abs(value - (after[at] ?? 0)), 0) / before.length
    expect(far).toBeLessThan(3)
  })

  test('is stored once more however many ask at once, and has no link into the service from then on', async () => {
    const { id, key } = await asPublic(stage, newUser(), hubble)
    expect(await linkOf(stage, id)).toBe(`${stage.service.baseUrl}/media/${id}/content`)
    const answers = await Promise.all(Array.from({ length: 20 }, () => stage.call(`/media/${id}/content`)))
    const places = answers.map((answer) => new URL(answer.headers.get('location') ?? '').pathname)
    expect(new Set(places).size).toBe(1)
    expect(new URL(await linkOf(stage, id)).pathname).toBe(places[0]!)
    const keys = await stage.inside?.keys(`media/${id}/`)
    if (keys !== undefined) expect(keys).toHaveLength(2)
    expect(places[0]).not.toContain(key)
  })

  test('is cached for everyone, but not with what its owner gets', async () => {
    const user = newUser()
    const { id } = await asPublic(stage, user, rocketBytes)
    for (const [as, cached] of [
      [{}, 'public'],
      [{ as: user }, 'private'],
    ] as const) {
      const { headers } = await stage.call(`/media/${id}/content`, as)
      expect(headers.get('cache-control')).toStartWith(`${cached}, max-age=`)
      expect(headers.get('vary')?.toLowerCase()).toContain('authorization')
    }
  })

  test('that becomes private leaves nothing for others, and comes back as clean', async () => {
    const user = newUser()
    const [, bytes = rocketBytes, seen = [0, 0, 0]] = pictures[0] ?? []
    const { id } = await asPublic(stage, user, bytes)
    await followed(stage, `/media/${id}/content`)
    const link = await linkOf(stage, id)
    expect((await fetch(link)).status).toBe(200)
    await answered(200, await stage.patch(user, id, { visibility: 'private' }))
    expect((await fetch(link)).status).toBe(404)
    await expectProblem(await stage.call(`/media/${id}/content`), 401, 'token_missing')
    await expectProblem(await stage.call(`/media/${id}/content`, { as: newUser() }), 404, 'not_found')
    await expectBytes(await followed(stage, `/media/${id}/content`, user), bytes)
    await answered(200, await stage.patch(user, id, { visibility: 'public' }))
    await expectClean(await followed(stage, `/media/${id}/content`), 'image/jpeg', seen)
  })

  test.each([
    ['too large to be cleaned', 'image_too_large', () => made(sharp({ create: LARGE }).png())],
    ['of a type that cannot be', 'image_unreadable', () => readCorpus('made/phone.heic')],
    ['cut off', 'image_unreadable', async () => (await made(rocket().avif({ effort: 0 }))).slice(0, 1000)],
  ] as const)('%s is its owner’s alone: %s', async (_, code, make) => {
    const user = newUser()
    const bytes: Uint8Array<ArrayBuffer> = await make()
    const { id } = await asPublic(stage, user, bytes)
    for (let i = 0; i < 2; i += 1) {
      await expectProblem(await stage.call(`/media/${id}/content`), 422, code)
      await expectProblem(await fetch(await linkOf(stage, id, newUser())), 422, code)
    }
    await expectBytes(await fetch(await linkOf(stage, id, user)), bytes)
  })
})

const LARGE = { width: 9000, height: 7500, channels: 3, background: '#204060' } as const

test('a file that is no picture is the same for everyone', async () => {
  for (const file of ['accept/clip.mp4', 'refuse/document.pdf']) {
    const bytes = await readCorpus(file)
    const { id } = await asPublic(stage, newUser(), bytes)
    await expectBytes(await fetch(await linkOf(stage, id)), bytes)
    await expectBytes(await followed(stage, `/media/${id}/content`), bytes)
  }
})

describe('the service with PUBLIC_ORIGINALS=true', async () => {
  const open = await openStage({ PUBLIC_ORIGINALS: 'true' })
  afterAll(open.close)

  test('everyone gets the same bytes', async () => {
    const { id } = await asPublic(open, newUser(), withComment)
    await expectBytes(await fetch(await linkOf(open, id)), withComment)
    await expectBytes(await followed(open, `/media/${id}/content`), withComment)
  })
})

// It reads what the bucket policy in docs/deploying.md lets everyone read, and nothing else.
describe.skipIf(backend === 'embedded')('a CDN', async () => {
  if (backend === 'embedded') return
  let inside: Stage['inside']
  const cdn = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      // The service asks for a copy while it starts: a CDN that is away then is not judged.
      if (inside === undefined) return new Response(null, { status: 503 })
      const key = new URL(request.url).pathname.slice(1)
      const stored = key.startsWith('public/') ? await inside.storedUnder(key) : null
      if (!stored) return new Response(null, { status: 403 })
      return new Response(Buffer.from(stored.bytes), { headers: { 'content-type': stored.type ?? '' } })
    },
  })
  const base = `http://127.0.0.1:${cdn.port}`
  const withCdn: Stage = await openStage({ CDN_BASE_URL: base, ALLOWED_TYPES: TYPES })
  afterAll(async () => {
    await cdn.stop(true)
    await withCdn.close()
  })
  inside = withCdn.inside
  const [, bytes = rocketBytes, seen = [0, 0, 0]] = pictures[0] ?? []
  const urlOf = async (id: string) => (await answered<MediaObject>(200, await withCdn.call(`/media/${id}`))).url

  test('has the public copy and never the original, made by upkeep or on first request', async () => {
    const user = newUser()
    for (const publish of [() => runUpkeep(withCdn.env), (id: string) => withCdn.call(`/media/${id}/content`)]) {
      const { id, key, url } = await asPublic(withCdn, user, bytes)
      expect(url).toBe(`${withCdn.service.baseUrl}/media/${id}/content`)
      expect(await inside?.keys(`public/${id}/`)).toEqual([])
      await publish(id)
      const now = await urlOf(id)
      expect(now).toStartWith(`${base}/public/${id}/`)
      await expectClean(await fetch(now), 'image/jpeg', seen)
      await expectClean(await fetch(url), 'image/jpeg', seen)
      await expectClean(await fetch(await linkOf(withCdn, id)), 'image/jpeg', seen)
      expect((await withCdn.call(`/media/${id}/content`)).headers.get('location')).toBe(now)
      await expectBytes(await followed(withCdn, `/media/${id}/content`, user), bytes)
      expect(key).toStartWith('media/')
      expect(await inside?.keys(`public/${id}/`)).toEqual([now.slice(base.length + 1)])
      await until(() =>
        expect(inside?.heard(id).map(({ channel, payload }) => [channel, payload.url])).toEqual([
          ['photo:uploaded', url],
          ['photo:updated', now],
        ]),
      )
    }
  })

  test('loses what becomes private, and gets it under another key when it is public again', async () => {
    const user = newUser()
    const { id } = await asPublic(withCdn, user, bytes)
    await followed(withCdn, `/media/${id}/content`)
    const first = await urlOf(id)
    const closed = await answered<MediaObject>(200, await withCdn.patch(user, id, { visibility: 'private' }))
    expect(closed.url).toBe(`${withCdn.service.baseUrl}/media/${id}/content`)
    expect((await fetch(first)).status).toBe(403)
    expect(await inside?.keys(`public/${id}/`)).toEqual([])
    await answered(200, await withCdn.patch(user, id, { visibility: 'public' }))
    await followed(withCdn, `/media/${id}/content`)
    expect(await urlOf(id)).not.toBe(first)
    await expectClean(await fetch(await urlOf(id)), 'image/jpeg', seen)
  })

  test('loses what is deleted, and has it again when it was restored and somebody asks', async () => {
    const user = newUser()
    const { id } = await asPublic(withCdn, user, bytes)
    await followed(withCdn, `/media/${id}/content`)
    const first = await urlOf(id)
    expect((await withCdn.remove(user, id)).status).toBe(204)
    expect((await fetch(first)).status).toBe(403)
    const { url } = await answered<MediaObject>(200, await withCdn.restore(user, id))
    expect(url).toBe(`${withCdn.service.baseUrl}/media/${id}/content`)
    await expectClean(await fetch(url), 'image/jpeg', seen)
  })

  test('has what is no picture as it is, beside the original', async () => {
    const film = await readCorpus('accept/clip.mp4')
    const { id, key } = await asPublic(withCdn, newUser(), film)
    await expectBytes(await followed(withCdn, `/media/${id}/content`), film)
    await expectBytes(await fetch(await urlOf(id)), film)
    expect(await inside?.keys(`media/${id}/`)).toEqual([key])
  })
})
