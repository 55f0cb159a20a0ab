import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import sharp from 'sharp'
import { accepted, DEFAULT_TYPES, readCorpus } from '../corpus.ts'
import { failureOf, job, openPool, renditionOf } from './pool.ts'

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
  const cut = rocket.slice(0, 2000)
  const failure = await failureOf(pool.run(job(renditionOf('image/jpeg', 640, 427), cut)))
  expect(failure).toMatchObject({ kind: 'bad-bytes', code: 'image_unreadable' })
})
