import { beforeAll, describe, expect, test } from 'bun:test'
import sharp, { type Sharp } from 'sharp'
import type { DecodeTask } from '../../src/pictures/decoding.ts'
import { perform } from '../../src/pictures/tasks.ts'
import { readCase, readCorpus } from '../support/pictures/corpus.ts'
import { chunk, join, little16 } from '../support/pictures/picture-pieces.ts'

// The service, which other tests of this process set up, lets libvips read some formats only.
beforeAll(() => sharp.unblock({ operation: ['VipsForeignLoad'] }))

const clean = async (bytes: Uint8Array, mimeType: string) => {
  const made = await perform({ kind: 'clean', mimeType }, bytes)
  return made.bytes ?? expect.unreachable()
}

/** The rendition of its own size, and the placeholder's colour. */
async function render(bytes: Uint8Array, mimeType: string, format: 'png' | 'webp' = 'png') {
  const { width, height } = await perform({ kind: 'placeholder', mimeType }, bytes)
  const rendition = { width, height, fit: 'inside', format, quality: 95 } as const
  const task: DecodeTask = { kind: 'rendition', mimeType, rendition, expected: { width, height }, placeholder: false }
  return (await perform(task, bytes)).bytes ?? expect.unreachable()
}

const sizeOf = async (bytes: Uint8Array) => {
  const { width, height, pageHeight, pages = 1 } = await sharp(bytes, { animated: true }).metadata()
  return [width, pageHeight ?? height / pages, pages]
}
const pixelsOf = (picture: Sharp) => picture.ensureAlpha().raw().toBuffer()
/** Red, green, blue and alpha at a place of one frame. */
async function pixelAt(bytes: Uint8Array, x: number, y: number, page = 0): Promise<number[]> {
  const one = sharp(await sharp(bytes, { page }).png().toBuffer())
  return [...(await pixelsOf(one.extract({ left: x, top: y, width: 1, height: 1 })))]
}

describe('a GIF is painted on its screen as browsers do', () => {
  test.each([
    ['screen-100x100-frame-120x80-at-60-0.gif', 180, 100, { free: [0, 0], covered: [179, 0] }],
    ['screen-800x600-frame-120x120.gif', 800, 600, { free: [700, 500], covered: [0, 0] }],
    ['screen-500x400-frame-120x120.gif', 500, 400, { free: [400, 300], covered: [0, 0] }],
  ] as const)('%s', async (file, width, height, { free, covered }) => {
    const bytes = await readCase(file)
    for (const made of [await render(bytes, 'image/gif'), await clean(bytes, 'image/gif')]) {
      expect(await sizeOf(made)).toEqual([width, height, 1])
      expect(await pixelAt(made, free[0], free[1])).toEqual([0, 0, 0, 0])
      expect((await pixelAt(made, covered[0], covered[1]))[3]).toBe(255)
    }
  })

  test('an animation keeps its frames and times', async () => {
    const bytes = await readCorpus('accept/three-frames-120x80.gif')
    // On a screen that is larger.
    const larger = join(bytes.subarray(0, 6), little16(200), little16(100), bytes.subarray(10))
    const [before, after] = await Promise.all(
      [bytes, await clean(larger, 'image/gif')].map((one) => sharp(one).metadata()),
    )
    expect([after?.width, after?.height, after?.pages, after?.delay]).toEqual([200, 100, 3, before?.delay])
    const moving = await render(larger, 'image/gif', 'webp')
    expect(await sizeOf(moving)).toEqual([200, 100, 3])
    expect(await pixelAt(moving, 199, 99, 2)).toEqual([0, 0, 0, 0])
  })
})

test.each([
  ['ends in the middle', 0.5],
  ['lacks only its end', 0.999],
])('a JPEG that %s is shown as far as it goes, to its owner and others alike', async (_, part) => {
  const rocket = await readCorpus('accept/rocket.jpg')
  const cut = rocket.subarray(0, rocket.length * part)
  const [own, others] = await Promise.all([render(cut, 'image/jpeg'), clean(cut, 'image/jpeg')])
  expect([await sizeOf(own), await sizeOf(others)]).toEqual([
    [640, 427, 1],
    [640, 427, 1],
  ])
  const [whole, first] = await Promise.all([pixelAt(rocket, 320, 20), pixelAt(own, 320, 20)])
  for (const [at, value] of whole.entries()) expect(Math.abs(value - first[at]!)).toBeLessThan(8)
})

describe('the copy for others', () => {
  test.each(['rgb16', 'grey16'])('of a PNG keeps its 16 bits: %s', async (space) => {
    const bytes = await sharp(await readCorpus('accept/camera-16bit.png'))
      .toColourspace(space)
      .png()
      .toBuffer()
    const made = await clean(bytes, 'image/png')
    expect(await sharp(made).metadata()).toMatchObject({ depth: 'ushort', space })
    expect(
      (await sharp(made).raw({ depth: 'ushort' }).toBuffer()).equals(
        await sharp(bytes).raw({ depth: 'ushort' }).toBuffer(),
      ),
    ).toBe(true)
  })

  const pages = async (...sides: number[]) =>
    Promise.all(
      sides.map((width) =>
        sharp({ create: { width, height: 20, channels: 3, background: '#c03' } })
          .png()
          .toBuffer(),
      ),
    )

  test('of a TIFF has all its pages', async () => {
    const bytes = await sharp(await pages(30, 30, 30), { join: { animated: true } })
      .tiff()
      .toBuffer()
    expect((await sharp(bytes).metadata()).pages).toBe(3)
    expect((await sharp(await clean(bytes, 'image/tiff')).metadata()).pages).toBe(3)
    expect(await sizeOf(await render(bytes, 'image/tiff'))).toEqual([30, 20, 1])
  })
})

test('an animation with an orientation is shown as browsers show it, and goes on moving', async () => {
  const frames = await Promise.all(
    ['#c03', '#3c0'].map((background) =>
      sharp({ create: { width: 30, height: 20, channels: 3, background } })
        .png()
        .toBuffer(),
    ),
  )
  const bytes = await sharp(frames, { join: { animated: true } })
    .withMetadata({ orientation: 6 })
    .webp()
    .toBuffer()
  for (const made of [await render(bytes, 'image/webp', 'webp'), await clean(bytes, 'image/webp')])
    expect(await sizeOf(made)).toEqual([30, 20, 2])
  expect(await sizeOf(await render(bytes, 'image/webp'))).toEqual([30, 20, 1])
})

describe('colours that code points describe become sRGB', () => {
  const near = (found: number[], expected: readonly number[]) => {
    for (const [at, value] of expected.entries()) expect(Math.abs((found[at] ?? 0) - value)).toBeLessThan(4)
  }

  test('P3 of an AVIF', async () => {
    const bytes = await readCase('p3-by-cicp.avif')
    for (const made of [await render(bytes, 'image/avif'), await clean(bytes, 'image/avif')]) {
      near(await pixelAt(made, 10, 10), [217, 42, 39])
      near(await pixelAt(made, 30, 10), [0, 183, 30])
      near(await pixelAt(made, 50, 10), [60, 60, 208])
    }
  })

  // As Chromium 150 shows them.
  test.each([
    ['P3', 12, 13, [215, 93, 31]],
    ['BT.2020', 9, 14, [239, 63, 5]],
    ['linear light', 1, 8, [229, 168, 122]],
    ['sRGB', 1, 13, [200, 100, 50]],
    ['a reserved number', 3, 3, [200, 100, 50]],
  ])('%s of a PNG', async (_, primaries, transfer, expected) => {
    const bytes = await sharp({ create: { width: 4, height: 4, channels: 3, background: { r: 200, g: 100, b: 50 } } })
      .png()
      .toBuffer()
    const coded = join(bytes.subarray(0, 33), chunk('cICP', [primaries, transfer, 0, 1]), bytes.subarray(33))
    for (const made of [await render(coded, 'image/png'), await clean(coded, 'image/png')])
      near(await pixelAt(made, 1, 1), expected)
  })
})
