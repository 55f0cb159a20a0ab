import { beforeAll, describe, expect, test } from 'bun:test'
import sharp from 'sharp'
import { boxesIn } from '../../src/pictures/boxes.ts'
import { createImageProbe } from '../../src/pictures/image.ts'
import { INSPECTED_BYTES } from '../../src/pictures/limits.ts'
import { perform } from '../../src/pictures/tasks.ts'
import { refusal } from '../support/http/refusal.ts'
import { crop, FOUR_COLOURS, FOUR_COLOURS_FILE, heic, mirror, QUARTERS, turn } from '../support/pictures/heic.ts'
import { film, orientation } from '../support/pictures/made-pictures.ts'
import { type Bytes, box, join } from '../support/pictures/picture-pieces.ts'

const mimeType = 'image/heic'
const probe = createImageProbe({ allowedTypes: new Set([mimeType]), maxPixels: 100_000_000 })
// The probe, which other tests of this process set up, lets libvips read some formats only.
beforeAll(() => sharp.unblock({ operation: ['VipsForeignLoad'] }))

/** Stands in every kind of metadata. */
const SECRET = 'where-she-lives'

type Quarter = keyof typeof QUARTERS
type Corners = [leftAbove: Quarter, rightAbove: Quarter, leftBelow: Quarter, rightBelow: Quarter]
const AS_CODED: Corners = ['red', 'green', 'blue', 'white']

const shown: [name: string, properties: Bytes[], corners: Corners][] = [
  ['as it is coded', [], AS_CODED],
  ['turned anticlockwise', [turn(1)], ['green', 'white', 'red', 'blue']],
  ['turned upside down', [turn(2)], ['white', 'blue', 'green', 'red']],
  ['turned clockwise', [turn(3)], ['blue', 'red', 'white', 'green']],
  ['mirrored, its sides', [mirror(1)], ['green', 'red', 'white', 'blue']],
  ['mirrored, top and bottom', [mirror(0)], ['blue', 'white', 'red', 'green']],
  ['turned, then mirrored', [turn(1), mirror(1)], ['white', 'green', 'blue', 'red']],
  ['mirrored, then turned', [mirror(1), turn(1)], ['red', 'blue', 'green', 'white']],
]

describe.each(shown)('a picture that is %s', (_, properties, corners) => {
  test.each([
    ['whole', heic({ properties })],
    ['of 3 × 2 tiles, less than all of them', heic({ columns: 3, rows: 2, width: 700, height: 500, properties })],
    ['cropped before', heic({ properties: [crop(200, 180, 8, -12), ...properties] })],
    ['cropped after', heic({ properties: [...properties, crop(200, 180, 8, -12)] })],
  ])('%s, has its size and its pixels so', async (name, bytes) => {
    const { width, height } = await probe(bytes, mimeType)
    const tiff = await decoded(bytes)
    expect(tiff.info).toMatchObject({ width: width!, height: height! })
    if (name.includes('tiles')) expect([width, height].toSorted()).toEqual([500, 700])
    else expect(cornersOf(tiff)).toEqual(corners)
  })
})

function topBoxes(bytes: Bytes): Bytes[] {
  const boxes = boxesIn(new DataView(bytes.buffer), { start: 0, end: bytes.length }, () => {})
  let start = 0
  return [...boxes].map(({ end }) => {
    const one = bytes.slice(start, end)
    start = end
    return one
  })
}

/** The colours near the corners, each far enough from the next quarter in whatever is cropped here. */
function cornersOf({ data, info: { width, height } }: Awaited<ReturnType<typeof decoded>>): string[] {
  return [
    [10, 10],
    [width - 10, 10],
    [10, height - 10],
    [width - 10, height - 10],
  ].map(([x = 0, y = 0]) => {
    const at = (y * width + x) * 3
    const distance = (colour: number[]) => Math.max(...colour.map((value, i) => Math.abs(value - (data[at + i] ?? 0))))
    return Object.entries(QUARTERS).find(([, colour]) => distance(colour) < 16)?.[0] ?? 'none'
  })
}

async function decoded(bytes: Bytes) {
  const { bytes: copy } = await perform({ kind: 'clean', mimeType }, bytes)
  return sharp(copy).raw().toBuffer({ resolveWithObject: true })
}

test('its EXIF orientation says nothing: the boxes do', async () => {
  const bytes = heic({ coded: FOUR_COLOURS, columns: 2, rows: 1, properties: [turn(1)], exif: orientation(6) })
  expect(await probe(bytes, mimeType)).toEqual({ width: 256, height: 512 })
  const { info } = await decoded(bytes)
  expect([info.width, info.height]).toEqual([256, 512])
})

test('its copy is a JPEG that has nothing but the pixels', async () => {
  const bytes = heic({ exif: `II*\0${SECRET}`, more: [box('uuid', new Uint8Array(16), SECRET)] })
  expect(Buffer.from(bytes).toString('latin1').split(SECRET)).toHaveLength(3)
  const { bytes: copy } = await perform({ kind: 'clean', mimeType }, bytes)
  const { format, exif, xmp, icc } = await sharp(copy).metadata()
  expect({ format, exif, xmp, icc }).toEqual({ format: 'jpeg' } as never)
  expect(Buffer.from(copy!).includes(SECRET)).toBe(false)
})

test('its colours are those of its profile', async () => {
  const profile = (
    await sharp({ create: { width: 1, height: 1, channels: 3, background: '#000' } })
      .withIccProfile('p3')
      .png()
      .toBuffer()
      .then((png) => sharp(png).metadata())
  ).icc
  const { data } = await decoded(heic({ properties: [box('colr', 'prof', profile!)] }))
  // (192, 32, 32) of Display P3, by Chromium.
  expect(Math.abs((data[30] ?? 0) - 209)).toBeLessThan(4)
})

test.each([
  ['the sequence of a burst behind it', heic({ brands: ['msf1', 'mif1', 'heic', 'hevc'], more: [film(17_000_000)] })],
  ['a brand that names no codec first', heic({ brands: ['mif1', 'mif1', 'heic'] })],
  ['a film behind it, as motion photos have', heic({ more: [box('mpvd', new Uint8Array(5000))] })],
])('with %s is decoded', async (_, bytes) => {
  expect(await probe(bytes, mimeType)).toEqual({ width: 256, height: 256 })
  expect(cornersOf(await decoded(bytes))).toEqual(AS_CODED)
})

test('its size is read behind its pixels, too, by ranges', async () => {
  const [ftyp, ...rest] = topBoxes(heic())
  const bytes = join(ftyp!, box('free', new Uint8Array(2 * INSPECTED_BYTES)), ...rest)
  const read = async ({ start, length }: { start: number; length: number }) => bytes.subarray(start, start + length)
  const size = await probe(bytes.subarray(0, INSPECTED_BYTES), mimeType, { sizeBytes: bytes.length, read })
  expect(size).toEqual({ width: 256, height: 256 })
})

describe('is refused', () => {
  const failing = (bytes: Bytes) => refusal(perform({ kind: 'placeholder', mimeType }, bytes))

  test('for more pixels than are decoded, before it is', async () => {
    const large = heic({ columns: 2, rows: 2, width: 10_000, height: 6500 })
    expect(await failing(large)).toMatchObject({ code: 'image_too_large' })
    // What the grid itself claims counts, too.
    const small = heic({ columns: 2, rows: 2, width: 10_000, height: 6500, declared: [100, 100] })
    expect(await failing(small)).toMatchObject({ code: 'image_too_large' })
  })

  test.each([
    ['cut in its pixels', FOUR_COLOURS_FILE.slice(0, -150)],
    ['without a picture', heic().slice(0, 40)],
    ['with boxes that say no size', heic({ declared: [0, 0] })],
    ['with pixels of zeros', heic({ coded: { ...FOUR_COLOURS, data: new Uint8Array(500) } })],
  ])('%s', async (_, bytes) => {
    expect(await failing(bytes)).toBeInstanceOf(Error)
  })
})
