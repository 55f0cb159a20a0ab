import { describe, expect, test } from 'bun:test'
import { createImageProbe } from '../../src/media/image.ts'
import { acceptType, createInspect, extensionOf, INSPECTED_BYTES } from '../../src/media/inspect.ts'
import { accepted, DEFAULT_TYPES, readCorpus, refused } from '../corpus.ts'
import { refusal } from '../refusal.ts'

function inspectorOf(allowedTypes: Set<string>, maxPixels = 100_000_000) {
  return createInspect({ allowedTypes, probeImage: createImageProbe({ allowedTypes, maxPixels }) })
}

const inspect = inspectorOf(DEFAULT_TYPES)

describe('a file of the corpus', () => {
  for (const { file, type, width, height } of accepted.filter(({ type }) => DEFAULT_TYPES.has(type))) {
    test(`${file} is ${type} of ${width} × ${height}`, async () => {
      const expected = { mimeType: type, dimensions: { width, height } }
      expect(await inspect(await readCorpus(file), { whole: true })).toEqual(expected)
    })
  }

  for (const { file, code } of refused.filter(({ code }) => code !== 'file_empty')) {
    test(`${file} is refused: ${code}`, async () => {
      expect(await refusal(inspect(await readCorpus(file), { whole: true }))).toMatchObject({ code })
    })
  }

  test('clip.mp4 is refused by default, and has no dimensions where it is allowed', async () => {
    const clip = await readCorpus('accept/clip.mp4')
    expect(await refusal(inspect(clip, { whole: true }))).toMatchObject({ code: 'media_type_unsupported' })
    const open = inspectorOf(new Set(['video/mp4']))
    const found = await open(clip, { whole: true })
    expect(found).toEqual({ mimeType: 'video/mp4', dimensions: { width: null, height: null } })
    inspectorOf(DEFAULT_TYPES)
  })
})

describe('the beginning of a file', () => {
  test('is enough to know its type and size', async () => {
    for (const { file, type, width, height } of accepted.filter(({ type }) => DEFAULT_TYPES.has(type))) {
      const bytes = await readCorpus(file)
      const beginning = bytes.subarray(0, Math.min(INSPECTED_BYTES, Math.ceil(bytes.length * 0.6)))
      expect({ file, ...(await inspect(beginning, { whole: false })) }).toEqual({
        file,
        mimeType: type,
        dimensions: { width, height },
      })
    }
  })

  test('of a picture that claims too many pixels is refused as the whole would be', async () => {
    const bomb = await readCorpus('refuse/bomb-900-megapixels.png')
    expect(await refusal(inspect(bomb.subarray(0, 5000), { whole: false }))).toMatchObject({ code: 'image_too_large' })
    const tight = inspectorOf(DEFAULT_TYPES, 120 * 80 - 1)
    const gif = await readCorpus('accept/three-frames-120x80.gif')
    for (const whole of [true, false])
      expect(await refusal(tight(gif, { whole }))).toMatchObject({ code: 'image_too_large' })
    expect((await inspectorOf(DEFAULT_TYPES, 120 * 80)(gif, { whole: true })).dimensions.width).toBe(120)
  })
})

test('only the decoders of allowed types ever see the bytes', async () => {
  const probe = createImageProbe({ allowedTypes: new Set(['image/png']), maxPixels: 1e9 })
  const rocket = await readCorpus('accept/rocket.jpg')
  expect(await refusal(probe(rocket, { mimeType: 'image/jpeg', whole: true }))).toMatchObject({
    code: 'image_unreadable',
  })
  createImageProbe({ allowedTypes: DEFAULT_TYPES, maxPixels: 1e9 })
  expect(await probe(rocket, { mimeType: 'image/jpeg', whole: true })).toEqual({ width: 640, height: 427 })
})

test('a type that is not accepted is refused with those that are', () => {
  expect(acceptType('image/png', DEFAULT_TYPES)).toBe('image/png')
  expect(() => acceptType('image/svg+xml', DEFAULT_TYPES)).toThrow('image/jpeg, image/png')
})

test('a key has the usual extension of its type', () => {
  const types = ['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/avif', 'video/mp4', 'no/such']
  expect(types.map(extensionOf)).toEqual(['.jpg', '.png', '.webp', '.gif', '.avif', '.mp4', ''])
})
