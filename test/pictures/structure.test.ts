import { beforeAll, describe, expect, test } from 'bun:test'
import sharp from 'sharp'
import { pixelsOfPng } from '../../src/pictures/png.ts'
import { checkStructure, cutForDecoding } from '../../src/pictures/structure.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { deflatedZeros } from '../support/pictures/hostile/deflated.ts'
import { restartingJpeg } from '../support/pictures/hostile/jpeg.ts'
import { MiB } from '../support/pictures/hostile/kind.ts'
import { gif, gifFrame, png, text } from '../support/pictures/made-pictures.ts'
import { chunk, join, repeat, segment, u32 } from '../support/pictures/picture-pieces.ts'

// The service, which other tests of this process set up, lets libvips read some formats only.
beforeAll(() => sharp.unblock({ operation: ['VipsForeignLoad'] }))

const pixelsOf = (bytes: Uint8Array) => sharp(bytes).autoOrient().raw().toBuffer()

describe('an honest picture passes', () => {
  test('as a GIF of 60 MB', () => {
    const frame = join(gifFrame(640, 480).subarray(0, 11), repeat(1200, [255], new Uint8Array(255)), [0])
    const control = [0x21, 0xf9, 4, 0, 10, 0, 0, 0]
    const bytes = gif(640, 480, [0x21, 0xff, 11], 'NETSCAPE2.0', [3, 1, 0, 0, 0], repeat(195, control, frame))
    expect(bytes.length).toBeGreaterThan(59_000_000)
    checkStructure(bytes, 'image/gif')
  }, 30_000)

  test('as a GIF of ten thousand small frames', () => {
    checkStructure(gif(7, 5, repeat(9999, [0x21, 0xf9, 4, 0, 10, 0, 0, 0], gifFrame(7, 5))), 'image/gif')
  })

  test('as a PNG of 200 MB in chunks of 8 KiB', () => {
    // Lengths and types are looked at, pixels and checksums are not.
    const pixels = join(u32(8192), 'IDAT', new Uint8Array(8192 + 4))
    const bytes = Buffer.alloc(200_000_000, pixels)
    bytes.set(png(1, 1).subarray(0, 33))
    bytes.set(join(u32(8192 - 33), 'IDAT'), 33)
    checkStructure(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length), 'image/png')
  }, 30_000)

  test('as a JPEG with a restart marker for each block', async () => {
    const bytes = restartingJpeg(1600, 1600)
    expect(await sharp(bytes, { failOn: 'warning' }).metadata()).toMatchObject({ width: 1600, height: 1600 })
    checkStructure(bytes, 'image/jpeg')
    expect(cutForDecoding(bytes, 'image/jpeg')).toBe(bytes)
    // So many that they would be too many segments.
    checkStructure(restartingJpeg(8000, 8000), 'image/jpeg')
  }, 30_000)

  test.each([
    ['image/jpeg', 'rocket.jpg'],
    ['image/jpeg', 'phone-portrait.jpg'],
    ['image/jpeg', 'coffee-progressive-p3.jpg'],
    ['image/jpeg', 'rocket-cmyk.jpg'],
    ['image/jpeg', 'jpeg-with-html-comment.jpg'],
    ['image/png', 'astronaut.png'],
    ['image/png', 'camera-16bit.png'],
    ['image/webp', 'cat.webp'],
    ['image/gif', 'three-frames-120x80.gif'],
    ['image/avif', 'coffee.avif'],
  ])('and looks the same when it is cut: %s %s', async (mimeType, file) => {
    const bytes = await readCorpus(`accept/${file}`)
    checkStructure(bytes, mimeType)
    const cut = cutForDecoding(bytes, mimeType)
    expect(cut.length).toBeLessThanOrEqual(bytes.length)
    expect(Buffer.compare(await pixelsOf(cut), await pixelsOf(bytes))).toBe(0)
    expect((await sharp(cut).metadata()).icc).toEqual((await sharp(bytes).metadata()).icc as Buffer)
  })
})

describe('before it is decoded, a PNG', () => {
  const typesOf = (bytes: Uint8Array) => {
    const types: string[] = []
    const view = Buffer.from(bytes)
    for (let at = 8; at < view.length; at += 12 + view.readUInt32BE(at))
      types.push(view.toString('latin1', at + 4, at + 8))
    return types.join(' ')
  }
  const cut = (...chunks: Uint8Array[]) => typesOf(cutForDecoding(png(5, 5, ...chunks), 'image/png'))
  const profile = (bytes: Uint8Array) => chunk('iCCP', 'profile\0\0', bytes)

  test('loses text, unknown chunks and the frames that libpng would not show', () => {
    const compressed = chunk('zTXt', 'Comment\0\0', deflatedZeros(8 * MiB))
    const moving = [chunk('acTL', u32(2), u32(0)), chunk('fcTL', new Uint8Array(26)), chunk('fdAT', u32(1), [0])]
    expect(cut(compressed, text(3), chunk('iTXt', 'a'), chunk('prIv'), ...moving)).toBe('IHDR IDAT IEND')
  })

  test('keeps what it looks like', () => {
    const shown = ['gAMA', 'cHRM', 'sRGB', 'cICP', 'sBIT', 'tRNS', 'PLTE', 'eXIf']
    expect(cut(...shown.map((type) => chunk(type)))).toBe(`IHDR ${shown.join(' ')} IDAT IEND`)
    const plain = png(5, 5)
    expect(cutForDecoding(plain, 'image/png')).toBe(plain)
  })

  test('has a profile of 8 MiB at most, and the first alone', () => {
    expect(cut(profile(deflatedZeros(8 * MiB)))).toBe('IHDR iCCP IDAT IEND')
    expect(cut(profile(deflatedZeros(8 * MiB + 1)))).toBe('IHDR IDAT IEND')
    expect(cut(profile(deflatedZeros(1024 * MiB)))).toBe('IHDR IDAT IEND')
    expect(cut(profile(deflatedZeros(6 * MiB)), profile(deflatedZeros(6 * MiB)))).toBe('IHDR iCCP IDAT IEND')
    expect(cut(...Array(1000).fill(profile(deflatedZeros(64 * MiB))))).toBe('IHDR IDAT IEND')
    expect(cut(profile(new Uint8Array(20)))).toBe('IHDR IDAT IEND')
    expect(cut(chunk('iCCP', 'a name without an end'))).toBe('IHDR IDAT IEND')
  })

  test('that moves has the same profile, and its frames, in the copy for everyone', () => {
    const moving = [chunk('acTL', u32(2), u32(0)), chunk('fcTL', new Uint8Array(26))]
    const pixels = (bytes: Uint8Array) => typesOf(pixelsOfPng(png(5, 5, profile(bytes), text(3), ...moving)))
    expect(pixels(deflatedZeros(8 * MiB))).toBe('IHDR iCCP acTL fcTL IDAT IEND')
    expect(pixels(deflatedZeros(1024 * MiB))).toBe('IHDR acTL fcTL IDAT IEND')
  })

  test('decodes to the same pixels with eight bits, sixteen and a palette', async () => {
    const noise = sharp(Buffer.from(Array.from({ length: 30 * 20 * 4 }, (_, i) => (i * 7919) % 251)), {
      raw: { width: 30, height: 20, channels: 4 },
    })
    for (const made of [
      noise.clone().png(),
      noise.clone().png({ palette: true }),
      noise.clone().toColourspace('rgb16').png(),
    ]) {
      const bytes = await made
        .withIccProfile('p3')
        .withExif({ IFD0: { Copyright: 'x' } })
        .toBuffer()
      const [before, after] = [await pixelsOf(bytes), await pixelsOf(cutForDecoding(bytes, 'image/png'))]
      expect(Buffer.compare(before, after)).toBe(0)
    }
  })
})

describe('before it is decoded, a JPEG', () => {
  const inserted = async (...segments: Uint8Array[]) => {
    const rocket = await readCorpus('accept/rocket.jpg')
    return join(rocket.subarray(0, 2), ...segments, rocket.subarray(2))
  }
  const profile = (i: number, parts: number) => segment(0xe2, 'ICC_PROFILE\0', [i + 1, parts], new Uint8Array(65_000))

  test('loses comments, XMP, IPTC and what programs keep for themselves', async () => {
    const rocket = cutForDecoding(await inserted(), 'image/jpeg')
    const others = [
      ...[segment(0xfe, 'comment'), segment(0xe1, 'http://ns.adobe.com/xap/1.0/\0'), segment(0xed, 'Photoshop 3.0\0')],
      ...[segment(0xe2, 'MPF\0'), repeat(5000, segment(0xe9, new Uint8Array(3000)))],
    ]
    expect(Buffer.compare(cutForDecoding(await inserted(...others), 'image/jpeg'), rocket)).toBe(0)
  })

  test('has a profile of 8 MiB at most, and EXIF likewise', async () => {
    const few = await inserted(...Array.from({ length: 125 }, (_, i) => profile(i, 125)))
    expect(cutForDecoding(few, 'image/jpeg').length).toBeGreaterThan(125 * 65_000)
    const many = await inserted(...Array.from({ length: 255 }, (_, i) => profile(i, 255)))
    expect(cutForDecoding(many, 'image/jpeg').length).toBeLessThan(200_000)
    const exif = await inserted(repeat(800, segment(0xe1, 'Exif\0\0', new Uint8Array(65_000))))
    expect(cutForDecoding(exif, 'image/jpeg').length).toBeLessThan(9 * MiB)
  })

  test('is turned as its EXIF says', async () => {
    const bytes = await readCorpus('accept/phone-portrait.jpg')
    expect((await sharp(cutForDecoding(bytes, 'image/jpeg')).metadata()).autoOrient).toEqual({
      width: 427,
      height: 640,
    })
  })
})
