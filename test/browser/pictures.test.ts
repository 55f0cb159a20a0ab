import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Page } from 'playwright-core'
import sharp from 'sharp'
import { createInspect } from '../../src/media/bytes/inspect.ts'
import { createImageProbe } from '../../src/pictures/image.ts'
import { perform } from '../../src/pictures/tasks.ts'
import { haveChromium, launchChromium } from '../support/browser/chromium.ts'
import { readCase } from '../support/pictures/corpus.ts'
import { chunk, join, repeat, segment } from '../support/pictures/picture-pieces.ts'

/** In the order of the corners: left and right above, left and right below. Of different colours, one of them weak. */
const QUARTERS = ['#c83c28', '#28a050', '#3c50c8', '#b4a078']
const WIDTH = 48
const HEIGHT = 32

type Row = {
  type: string
  name: string
  bytes: Uint8Array
  /** Chromium shows WebP without its orientation, and no TIFF at all. */
  chromium: boolean
}

type Alpha = 'opaque' | 'transparent'

async function quarters(alpha: Alpha = 'opaque') {
  const [width, height] = [WIDTH / 2, HEIGHT / 2]
  const parts = QUARTERS.map((background, n) => ({
    input: {
      create: {
        width,
        height,
        channels: 4 as const,
        background: alpha === 'opaque' ? background : shade(background, n),
      },
    },
    left: (n % 2) * width,
    top: Math.floor(n / 2) * height,
  }))
  const canvas = { width: WIDTH, height: HEIGHT, channels: 4 as const, background: '#0000' }
  const picture = await sharp({ create: canvas }).composite(parts).png().toBuffer()
  return alpha === 'opaque' ? sharp(picture).removeAlpha() : sharp(picture)
}

const shade = (colour: string, n: number) => `${colour}${['ff', 'c0', '80', '00'][n]}`

const MiB = 1024 * 1024
const XMP = repeat(20, segment(0xe1, 'http://ns.adobe.com/xmp/extension/\0', new Uint8Array(60_000)))
const TEXT = chunk('tEXt', 'Comment\0', new Uint8Array(MiB).fill(0x41))

async function files(): Promise<Row[]> {
  const rows: Row[] = []
  const row = (type: string, name: string, bytes: Uint8Array, chromium = type !== 'tiff') =>
    rows.push({ type: `image/${type}`, name, bytes: new Uint8Array(bytes), chromium })
  for (let orientation = 1; orientation <= 8; orientation += 1) {
    const turned = (await quarters()).withMetadata({ orientation })
    const name = `orientation ${orientation}`
    const jpeg = await turned.clone().jpeg({ quality: 95, chromaSubsampling: '4:4:4' }).toBuffer()
    row('jpeg', name, jpeg)
    row('png', name, await turned.clone().png().toBuffer())
    row('webp', name, await turned.clone().webp({ lossless: true }).toBuffer(), orientation === 1)
    row('avif', name, await turned.clone().avif({ quality: 90, effort: 0, chromaSubsampling: '4:4:4' }).toBuffer())
    row('tiff', name, await turned.clone().tiff({ compression: 'deflate' }).toBuffer())
    if (orientation !== 6) continue
    row('jpeg', `${name} behind 1 MiB`, join(jpeg.subarray(0, 2), XMP, jpeg.subarray(2)))
    const png = await turned.clone().png().toBuffer()
    const exif = png.indexOf('eXIf') - 4
    const size = 12 + png.readUInt32BE(exif)
    row('png', `${name} behind 1 MiB`, join(png.subarray(0, 33), TEXT, png.subarray(33)))
    const without = join(png.subarray(0, exif), png.subarray(exif + size, -12))
    row('png', `${name} behind the pixels`, join(without, png.subarray(exif, exif + size), png.subarray(-12)))
  }
  for (const type of ['png', 'webp', 'avif', 'gif'] as const) {
    const picture = await quarters('transparent')
    const options = { webp: { lossless: true }, avif: { quality: 90, effort: 0 }, png: {}, gif: {} }[type]
    row(type, 'transparent', await picture.toFormat(type, options).toBuffer())
  }
  for (const type of ['jpeg', 'png', 'webp', 'avif'] as const)
    row(
      type,
      'P3 by a profile',
      await (await quarters()).withIccProfile('p3').toFormat(type, { quality: 95 }).toBuffer(),
    )
  const png = await (await quarters()).png().toBuffer()
  for (const [name, primaries, transfer] of [
    ['P3', 12, 13],
    ['BT.2020', 9, 14],
    ['BT.709', 1, 1],
    ['PQ', 9, 16],
    ['HLG', 9, 18],
  ] as const) {
    const coded = join(png.subarray(0, 33), chunk('cICP', [primaries, transfer, 0, 1]), png.subarray(33))
    row('png', `${name} by code points`, coded)
  }
  row('avif', 'P3 by code points', await readCase('p3-by-cicp.avif'))
  row('avif', 'brand mif1', await readCase('major-brand-mif1.avif'))
  row('avif', 'EXIF behind 1 MiB', await readCase('exif-behind-1mib.avif.gz'))
  row('avif', 'a transparent photo', await readCase('transparent.avif'))
  row('png', 'animated', await readCase('animated.png'))
  row('jpeg', 'depth map of 2 MiB', await readCase('depth-map-of-2mib-in-xmp.jpg.gz'))
  row('jpeg', 'profile of 1.8 MB', await readCase('icc-of-1.8mb.jpg.gz'))
  row('webp', 'orientation behind 1 MiB', await readCase('webp-orientation-behind-1mib.webp.gz'), false)
  row('webp', 'orientation as a big-endian LONG', await readCase('webp-orientation-long-big-endian.webp'), false)
  row('tiff', 'directory behind the pixels', await readCase('directory-behind-pixels.tiff'))
  for (const screen of ['100x100-frame-120x80-at-60-0', '800x600-frame-120x120', '500x400-frame-120x120'])
    row('gif', `screen ${screen}`, await readCase(`screen-${screen}.gif`))
  return rows
}

type Seen = { size: string; mean: number[]; corners: number[][] }

/** `rgba`: without premultiplied alpha. Colours count as much as they are opaque. */
function seen(rgba: Uint8Array, width: number, height: number): Seen {
  const at = (x: number, y: number) => {
    const from = 4 * (Math.floor(y * height) * width + Math.floor(x * width))
    const [r = 0, g = 0, b = 0, alpha = 0] = rgba.subarray(from, from + 4)
    return [r, g, b].map((value) => (value * alpha) / 255).concat(alpha)
  }
  const sums = [0, 0, 0, 0]
  for (let i = 0; i < rgba.length; i += 4) {
    const alpha = rgba[i + 3] ?? 0
    for (let c = 0; c < 3; c += 1) sums[c] = (sums[c] ?? 0) + ((rgba[i + c] ?? 0) * alpha) / 255
    sums[3] = (sums[3] ?? 0) + alpha
  }
  const corners = [at(0.25, 0.25), at(0.75, 0.25), at(0.25, 0.75), at(0.75, 0.75)]
  return { size: `${width}x${height}`, mean: sums.map((sum) => sum / (width * height)), corners }
}

async function decoded(bytes: Uint8Array): Promise<Seen> {
  const picture = sharp(bytes).autoOrient()
  const { data, info } = await picture.toColourspace('srgb').ensureAlpha().raw().toBuffer({ resolveWithObject: true })
  return seen(data, info.width, info.height)
}

async function inChromium(page: Page, { bytes, type }: Row): Promise<Seen> {
  const { width, height, rgba } = await page.evaluate(
    async ([base64, type]) => {
      const image = new Image()
      image.src = `data:${type};base64,${base64}`
      await image.decode()
      const { naturalWidth: width, naturalHeight: height } = image
      const context = new OffscreenCanvas(width, height).getContext('2d')
      if (context === null) throw new Error('no canvas')
      context.drawImage(image, 0, 0)
      const { data } = context.getImageData(0, 0, width, height)
      let text = ''
      for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192))
      return { width, height, rgba: btoa(text) }
    },
    [Buffer.from(bytes).toString('base64'), type] as const,
  )
  return seen(Buffer.from(rgba, 'base64'), width, height)
}

const far = (one: number[], other: number[]) => Math.max(...one.map((value, at) => Math.abs(value - (other[at] ?? 0))))

describe.skipIf(!haveChromium())('every picture has one size and its colours', () => {
  let close = async () => {}
  afterAll(() => close())
  // The service, which other tests of this process set up, lets libvips read some formats only.
  beforeAll(() => sharp.unblock({ operation: ['VipsForeignLoad'] }))

  test('for the service, its decoders and Chromium', async () => {
    const browser = await launchChromium()
    close = () => browser.close()
    const page = await browser.newPage()
    const allowedTypes = new Set(['jpeg', 'png', 'webp', 'avif', 'gif', 'tiff'].map((type) => `image/${type}`))
    const probeImage = createImageProbe({ allowedTypes, maxPixels: 1e8 })
    const inspect = createInspect({ allowedTypes, probeImage })
    sharp.unblock({ operation: ['VipsForeignLoad'] })
    const lines: string[] = []
    const wrong: string[] = []
    for (const row of await files()) {
      const { mimeType, dimensions } = await inspect(row.bytes)
      const made = await perform({ kind: 'clean', mimeType }, row.bytes)
      const bytes = made.bytes ?? expect.unreachable()
      // A viewer sees of the copy what it would see of the original.
      const look = (one: Uint8Array) => (row.chromium ? inChromium(page, { ...row, bytes: one }) : decoded(one))
      const [copy, shown] = [await look(bytes), await look(row.bytes)]
      const sizes = [`${dimensions.width}x${dimensions.height}`, `${made.width}x${made.height}`, copy.size, shown.size]
      const colour = far(copy.mean, shown.mean)
      const corner = Math.max(...copy.corners.map((one, at) => far(one, shown.corners[at] ?? [])))
      const line = [
        row.type.padEnd(11),
        row.name.padEnd(40),
        ...sizes.map((size) => size.padEnd(8)),
        colour.toFixed(1),
        corner.toFixed(1),
      ]
      lines.push(line.join(' '))
      if (mimeType !== row.type || new Set(sizes).size > 1 || colour > 3 || corner > 12) wrong.push(line.join(' '))
    }
    const head = ['type'.padEnd(11), 'picture'.padEnd(40), 'own      decoder  copy     Chromium colour corner']
    console.log([head.join(' '), ...lines].join('\n'))
    expect(wrong).toEqual([])
  }, 90_000)
})
