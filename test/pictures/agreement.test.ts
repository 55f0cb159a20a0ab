import { beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import sharp, { type Sharp } from 'sharp'
import { gifWithScreen, readGif } from '../../src/pictures/gif.ts'
import { readTiff } from '../../src/pictures/tiff.ts'
import { readWebp } from '../../src/pictures/webp.ts'
import { Problem } from '../../src/problem.ts'

// The service, which other tests of this process set up, lets libvips read some formats only.
beforeAll(() => sharp.unblock({ operation: ['VipsForeignLoad'] }))

const RUNS = 3000

/** Noise of so many frames. */
function noise({ width = 23, height = 17, frames = 1, channels = 3 as 3 | 4 } = {}): Sharp {
  const data = Buffer.from(Array.from({ length: width * height * frames * channels }, (_, i) => (i * 7919) % 251))
  return sharp(data, { raw: { width, height: height * frames, channels, pageHeight: height } })
}

const turned = [1, 2, 3, 4, 5, 6, 7, 8]
const KINDS: Record<
  string,
  { read: (bytes: Uint8Array) => { width: number; height: number } | undefined; files: () => Sharp[] }
> = {
  WebP: {
    read: readWebp,
    files: () => [
      ...[noise().webp(), noise({ channels: 4 }).webp(), noise().webp({ lossless: true })],
      ...[noise({ frames: 4 }).webp(), noise({ frames: 4, channels: 4 }).webp({ lossless: true })],
      ...turned.map((orientation) => noise().withMetadata({ orientation }).webp()),
      noise().withIccProfile('p3').webp(),
    ],
  },
  GIF: {
    read: readGif,
    files: () => [
      noise().gif(),
      noise({ frames: 4 }).gif(),
      noise({ width: 640, height: 480 }).gif(),
      noise({ channels: 4 }).gif(),
    ],
  },
  TIFF: {
    read: readTiff,
    files: () => [
      ...[noise().tiff(), noise().tiff({ compression: 'lzw' }), noise({ channels: 4 }).tiff({ bigtiff: true })],
      ...turned.map((orientation) => noise().withMetadata({ orientation }).tiff()),
      noise({ width: 100, height: 90 }).tiff({ tile: true, tileWidth: 32, tileHeight: 32, pyramid: true }),
    ],
  },
}

/** As the decoders have it read: undefined where it refuses. */
async function sizeBySharp(given: Uint8Array) {
  try {
    const { bytes } = gifWithScreen(given)
    const { autoOrient } = await sharp(bytes, { failOn: 'none', limitInputPixels: 1e8 }).metadata()
    return `${autoOrient.width} × ${autoOrient.height}`
  } catch {
    return undefined
  }
}

describe.each(Object.entries(KINDS))('the size of a %s is what sharp says', (_, { read, files }) => {
  const sizeByReader = (bytes: Uint8Array) => {
    try {
      const size = read(bytes)
      return size && `${size.width} × ${size.height}`
    } catch (error) {
      if (error instanceof Problem) return undefined
      throw error
    }
  }
  let honest: Uint8Array[]
  beforeAll(async () => {
    honest = await Promise.all(files().map((file) => file.toBuffer()))
  })

  test('for an honest file', async () => {
    for (const bytes of honest) {
      const size = await sizeBySharp(bytes)
      expect(size).toBeString()
      expect(sizeByReader(bytes)).toBe(size)
    }
  })

  test('for a file with some bytes changed, where both can read it', async () => {
    // Where the size is told, mostly.
    const place = fc.oneof({ weight: 4, arbitrary: fc.nat(120) }, { weight: 1, arbitrary: fc.nat() })
    const change = fc.tuple(place, fc.oneof(fc.constantFrom(0, 1, 2, 127, 128, 255), fc.nat(255)))
    let agreed = 0
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.array(change, { minLength: 1, maxLength: 4 }), async (n, changes) => {
        const bytes = Uint8Array.from(honest[n % honest.length] ?? [])
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        const [ours, theirs] = [sizeByReader(bytes), await sizeBySharp(bytes)]
        if (ours === undefined || theirs === undefined) return
        expect(ours).toBe(theirs)
        agreed += 1
      }),
      { numRuns: RUNS, seed: 20261128 },
    )
    expect(agreed).toBeGreaterThan(RUNS / 3)
  }, 60_000)
})
