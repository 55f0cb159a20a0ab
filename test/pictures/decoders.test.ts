import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import sharp from 'sharp'
import { until as untilTrue } from '../support/clock/until.ts'
import { refusal } from '../support/http/refusal.ts'
import { accepted, DEFAULT_TYPES, readCorpus } from '../support/pictures/corpus.ts'
import { failureOf, job, openPool, renditionOf } from '../support/pictures/pool.ts'

setDefaultTimeout(60_000)

const pool = openPool()
const rocket = await readCorpus('accept/rocket.jpg')

describe('a picture of the corpus', () => {
  for (const { file, type, width, height } of accepted.filter(({ type }) => DEFAULT_TYPES.has(type))) {
    test(`${file} has a rendition, a clean copy and a placeholder`, async () => {
      const bytes = await readCorpus(file)
      const made = await pool.run(job(renditionOf(type, width!, height!), bytes))
      expect(made).toMatchObject({ width: width!, height: height! })
      expect((await sharp(made.bytes).metadata()).format).toBe('webp')
      const clean = await pool.run(job({ kind: 'clean', mimeType: type }, bytes))
      const { exif, xmp, iptc, icc, comments, autoOrient } = await sharp(clean.bytes).metadata()
      expect([exif, xmp, iptc, icc, comments]).toEqual(Array.from({ length: 5 }, () => undefined))
      expect(autoOrient).toMatchObject({ width: width!, height: height! })
      const { placeholder } = await pool.run(job({ kind: 'placeholder', mimeType: type }, bytes))
      expect(placeholder?.dominantColor).toMatch(/^#[0-9a-f]{6}$/)
    })
  }
})

test('a size that is not the one expected is told, and no picture is made', async () => {
  const made = await pool.run(job(renditionOf('image/jpeg', 427, 640), rocket))
  expect(made).toEqual({ width: 640, height: 427, bytes: undefined, placeholder: undefined })
})

test('bytes that the decoder refuses twice are bad', async () => {
  const cut = rocket.slice(0, 300)
  const failure = await failureOf(pool.run(job(renditionOf('image/jpeg', 640, 427), cut)))
  expect(failure).toMatchObject({ kind: 'bad-bytes', code: 'image_unreadable' })
})

describe('a source', () => {
  const task = renditionOf('image/jpeg', 640, 427)
  const from = (sizeBytes: number, read: () => AsyncIterable<Uint8Array>) =>
    pool.run(job(task, rocket, { source: { sizeBytes, read } }))

  test('that cannot be read fails as it does, in the middle too', async () => {
    const cut = from(rocket.length, async function* () {
      yield rocket.subarray(0, 1000)
      throw new RangeError('the store went away')
    })
    expect(await refusal(cut)).toBeInstanceOf(RangeError)
    expect((await pool.run(job(task, rocket))).width).toBe(640)
  })

  test.each([-1, 1])('that gives other than it has said (%d bytes) is nobody’s fault', async (more) => {
    const other = from(rocket.length - more, async function* () {
      yield rocket
    })
    expect(await failureOf(other)).toMatchObject({ kind: 'not-done', code: 'overloaded' })
    expect((await pool.run(job(task, rocket))).width).toBe(640)
  })

  test('is not read before a place is free', async () => {
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let read = 0
    const held = (until: Promise<void>) =>
      from(rocket.length, async function* () {
        read += 1
        await until
        yield rocket
      })
    const jobs = [held(first.promise), held(second.promise)]
    await untilTrue(() => read === 1 && pool.usage().waiting === 1)
    first.resolve()
    await jobs[0]
    await untilTrue(() => read === 2)
    second.resolve()
    expect((await jobs[1])?.width).toBe(640)
  })

  test('is not read at all when it has more bytes than are decoded', async () => {
    const large = from(64 * 1024 * 1024 + 1, () => expect.unreachable())
    expect(await failureOf(large)).toMatchObject({ kind: 'bad-bytes', code: 'image_too_large' })
  })
})

test('pictures of more pixels than are decoded, or of too many scans or frames, are refused at little cost', async () => {
  const large = await readCorpus('refuse/bomb-900-megapixels.png')
  const { width, height } = await sharp(large, { limitInputPixels: false }).metadata()
  expect(await failureOf(pool.run(job(renditionOf('image/png', width, height), large)))).toMatchObject({
    kind: 'bad-bytes',
    code: 'image_too_large',
  })
  const frames = await readCorpus('made/100000-frames.webp')
  expect(await failureOf(pool.run(job({ kind: 'clean', mimeType: 'image/webp' }, frames)))).toMatchObject({
    code: 'image_too_large',
  })
  const film = await readCorpus('made/17-million-frames.avif')
  expect(await failureOf(pool.run(job({ kind: 'placeholder', mimeType: 'image/avif' }, film)))).toMatchObject({
    kind: 'bad-bytes',
  })
})

test('the version names the decoders and the limits', () => {
  expect(pool.version).toMatch(/^sharp 0\.\d+\.\d+, 872415232 bytes, 20 s$/)
})
