import { beforeAll, describe, expect, test } from 'bun:test'
import sharp from 'sharp'
import { readGif } from '../../src/pictures/gif.ts'
import { checkAvif } from '../../src/pictures/heif.ts'
import { readPng } from '../../src/pictures/png.ts'
import { checkStructure, cutForDecoding } from '../../src/pictures/structure.ts'
import { readWebp } from '../../src/pictures/webp.ts'
import { Problem } from '../../src/problem.ts'
import { readCorpus } from '../support/pictures/corpus.ts'

/** A picture of noise, 23 × 17 pixels, of so many frames. */
function noise(frames = 1, channels: 3 | 4 = 3) {
  const [width, height] = [23, 17]
  const data = Buffer.from(Array.from({ length: width * height * frames * channels }, (_, i) => (i * 7919) % 251))
  return sharp(data, { raw: { width, height: height * frames, channels, pageHeight: height } })
}

// The service, which other tests of this process set up, lets libvips read no WebP.
beforeAll(() => sharp.unblock({ operation: ['VipsForeignLoad'] }))

const expected = (frames = 1) => ({ width: 23, height: 17, frames })

describe('files of other programs are read', () => {
  test.each([
    ['lossy', noise().webp()],
    ['lossy with transparency', noise(1, 4).webp()],
    ['lossless', noise().webp({ lossless: true })],
    ['with a colour profile', noise().withIccProfile('p3').webp()],
    [
      'with EXIF',
      noise()
        .withExif({ IFD0: { Copyright: 'x' } })
        .webp(),
    ],
  ])('WebP, %s', async (_, picture) => {
    expect(readWebp(await picture.toBuffer())).toEqual(expected())
  })

  test('WebP and GIF, animated', async () => {
    expect(readWebp(await noise(5).webp().toBuffer())).toEqual(expected(5))
    expect(readWebp(await noise(5, 4).webp({ lossless: true }).toBuffer())).toEqual(expected(5))
    expect(readGif(await noise(5).gif().toBuffer())).toEqual(expected(5))
    expect(readGif(await noise(5).gif({ effort: 1, loop: 0 }).toBuffer())).toEqual(expected(5))
  })

  test('GIF, still', async () => {
    expect(readGif(await noise().gif().toBuffer())).toEqual(expected())
  })

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('WebP of the orientation %d, as libvips reads it', async (orientation) => {
    const picture = await noise().withMetadata({ orientation }).webp().toBuffer()
    const { width, height } = (await sharp(picture).metadata()).autoOrient
    expect(readWebp(picture)).toEqual({ width, height, frames: 1 })
  })
})

test('libvips gets only those chunks of a PNG that give its size and orientation', async () => {
  const { essentials, frames } = readPng(await readCorpus('made/512-mib-of-text.png')) ?? {}
  expect([essentials?.length, frames]).toEqual([41, 1])
  const turned = readPng(await noise().withMetadata({ orientation: 6 }).png().toBuffer())
  expect((await sharp(turned?.essentials).metadata()).autoOrient).toEqual({ width: 17, height: 23 })
  const indexed = readPng(await noise().png({ palette: true }).toBuffer())
  expect(await sharp(indexed?.essentials).metadata()).toMatchObject({ width: 23, height: 17 })
})

test('a film is found wherever it lies in an AVIF, and none where there is none', async () => {
  const film = await readCorpus('made/17-million-frames.avif')
  expect(() => checkAvif(film)).toThrow('image sequence')
  const long = Buffer.concat([Buffer.from('000000016672656500000000000000180000000000000000', 'hex'), film])
  expect(() => checkAvif(long)).toThrow('image sequence')
  checkAvif(await readCorpus('accept/coffee.avif'))
})

test('any beginning of a picture, and any picture with a byte changed, is read, cut or refused, never an error', async () => {
  const files = [
    ['image/gif', 'accept/three-frames-120x80.gif'],
    ['image/webp', 'made/orientation-6.webp'],
    ['image/png', 'made/three-frames.png'],
    ['image/avif', 'made/sequence.avif'],
  ] as const
  for (const [, file] of files) {
    const bytes = await readCorpus(file)
    for (let i = 0; i < bytes.length; i += 1) {
      for (const [type] of files) look(bytes.subarray(0, i), type)
      for (const value of [0, 1, 0x7f, 0xff]) for (const [type] of files) look(bytes.with(i, value), type)
    }
  }
})

function look(bytes: Uint8Array, mimeType: string): void {
  try {
    readPng(bytes)
    checkStructure(bytes, mimeType)
    cutForDecoding(bytes, mimeType)
  } catch (error) {
    if (!(error instanceof Problem)) throw error
  }
}
