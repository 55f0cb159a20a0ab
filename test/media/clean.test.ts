import { describe, expect, test } from 'bun:test'
import sharp from 'sharp'
import { createInspect } from '../../src/media/bytes/inspect.ts'
import { copyTypeOf } from '../../src/media/object/copy-type.ts'
import { createImageProbe } from '../../src/pictures/image.ts'
import { refusal } from '../support/http/refusal.ts'
import { accepted, DEFAULT_TYPES, readCorpus } from '../support/pictures/corpus.ts'
import { createInProcessDecoders } from '../support/pictures/in-process.ts'
import { job } from '../support/pictures/pool.ts'

const probeImage = createImageProbe({ allowedTypes: DEFAULT_TYPES, maxPixels: 100_000_000 })
const inspect = createInspect({ allowedTypes: DEFAULT_TYPES, probeImage })
const decoders = createInProcessDecoders()
const clean = async (bytes: Uint8Array, mimeType: string): Promise<Uint8Array> =>
  (await decoders.run(job({ kind: 'clean', mimeType }, bytes))).bytes ?? expect.unreachable()
const rocket = await readCorpus('accept/rocket.jpg')

describe('a picture of the corpus', () => {
  for (const { file, type, width, height } of accepted.filter(({ type }) => DEFAULT_TYPES.has(type))) {
    test(`${file} is of its type for copies and of the same size without its metadata`, async () => {
      const bytes = await clean(await readCorpus(file), type)
      expect(await inspect(bytes)).toEqual({ mimeType: copyTypeOf(type), dimensions: { width, height } })
      const { exif, xmp, iptc, icc, comments, orientation } = await sharp(bytes).metadata()
      expect([exif, xmp, iptc, icc, comments, orientation]).toEqual(Array.from({ length: 6 }, () => undefined))
    })
  }
})

test.each([1, 2, 3, 4, 5, 6, 7, 8])('orientation %d looks as it should', async (orientation) => {
  const turned = await sharp(rocket).withMetadata({ orientation }).jpeg({ quality: 100 }).toBuffer()
  const pixels = (bytes: Uint8Array) => sharp(bytes).autoOrient().resize(8, 8, { fit: 'fill' }).raw().toBuffer()
  const [seen, copied] = await Promise.all([turned, await clean(turned, 'image/jpeg')].map(pixels))
  for (const [at, value] of seen!.entries()) expect(Math.abs(value - copied![at]!)).toBeLessThan(8)
})

test('an animation keeps its frames and their times', async () => {
  const moving = await readCorpus('accept/three-frames-120x80.gif')
  for (const type of ['gif', 'webp'] as const) {
    const bytes = await sharp(moving, { animated: true })
      .toFormat(type, { delay: [100, 200, 300], loop: 2 })
      .toBuffer()
    const { pages, delay, loop } = await sharp(await clean(bytes, `image/${type}`)).metadata()
    expect([pages, delay, loop]).toEqual([3, [100, 200, 300], 2])
  }
})

test.each([
  ['refuse/bomb-900-megapixels.png', 'image/png', 'image_too_large'],
  ['made/17-million-frames.avif', 'image/avif', 'image_unreadable'],
  ['made/100000-frames.webp', 'image/webp', 'image_too_large'],
  ['made/phone.heic', 'image/heic', 'image_unreadable'],
  ['refuse/text-named.png', 'image/png', 'image_unreadable'],
])('%s is refused at little cost', async (file, type, code) => {
  const bytes = await readCorpus(file)
  const before = performance.now()
  expect(await refusal(clean(bytes, type))).toMatchObject({ code })
  expect(performance.now() - before).toBeLessThan(1000)
})
