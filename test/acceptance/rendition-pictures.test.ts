/** What a rendition shows of whatever picture, and what many at once take. */
import { afterAll, describe, expect, test } from 'bun:test'
import sharp from 'sharp'
import { answered, type MediaObject, newUser } from '../support/http/client.ts'
import { askRendition, seen } from '../support/http/renditions.ts'
import { accepted, DEFAULT_TYPES } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'
import { residentOf } from '../support/process/process-memory.ts'

const stage = await openStage({ RENDITION_SIZES: '100,200,400,800' })
afterAll(stage.close)
const pictures = accepted.filter(({ type }) => DEFAULT_TYPES.has(type))

/** Asks for a rendition, and follows to its bytes. */
const rendition = (id: string, query: string, how: { as?: string; accept?: string } = {}) =>
  askRendition(stage, id, query, how)

describe('a picture of the corpus', () => {
  test.each(pictures)(
    '$file, in every format and in both fits: of the right size, upright, without metadata',
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
      }
      // What is cut off has nothing to do with the format.
      const cover = await seen(await rendition(id, 'w=100&h=70&fit=cover&format=webp', { as: user }))
      const side = Math.min(100, width, height)
      expect([cover.width, cover.height]).toEqual([side, side])
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

  test('is animated where the format supports it, and else shows one frame', async () => {
    const user = newUser()
    const { id } = await stage.uploaded(user, 'accept/three-frames-120x80.gif')
    expect(await seen(await rendition(id, 'w=100', { as: user, accept: 'image/avif,image/webp' }))).toMatchObject({
      ...{ type: 'image/webp', pages: 3, width: 100, height: 67 },
    })
    expect(await seen(await rendition(id, 'w=100', { as: user }))).toMatchObject({ type: 'image/png', pages: 1 })
  })

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
    // Sizes that a JPEG is decoded to at once, so that it is about the bytes of many and not about CPU.
    const queries = ['w=200&format=webp', 'w=200&format=jpeg', 'w=100&format=png', 'w=100&format=jpeg']
    const answers = await Promise.all(ids.flatMap((id) => queries.map((query) => rendition(id, query, { as: user }))))
    clearInterval(watch)
    for (const answer of answers) await seen(answer)
    expect(peak - before).toBeLessThan(250 * 1024 * 1024)
  }, 60_000)
})

/** The pixels as a camera that was held so stores them (EXIF 2.32, tag Orientation). */
async function unturned(upright: Buffer, orientation: number): Promise<Buffer> {
  const degrees = { 3: 180, 5: 90, 6: 270, 7: 270, 8: 90 }[orientation] ?? 0
  const turned = sharp(await sharp(upright).rotate(degrees).png().toBuffer())
  if (orientation === 4) return turned.flip().png().toBuffer()
  return [2, 5, 7].includes(orientation) ? turned.flop().png().toBuffer() : turned.png().toBuffer()
}
