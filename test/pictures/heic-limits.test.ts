/** What decoding a HEIC may cost, in the processes of the pool. */
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import sharp from 'sharp'
import { cpuSecondsOf } from '../../src/pictures/system.ts'
import { until as untilTrue } from '../support/clock/until.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { type Coded, codedOf, FOUR_COLOURS, heic, turn } from '../support/pictures/heic.ts'
import { encodeHeic, findHeifEnc } from '../support/pictures/heif-enc.ts'
import { decodersOf, failureOf, job, openPool, renditionOf } from '../support/pictures/pool.ts'

setDefaultTimeout(120_000)

const MiB = 1024 * 1024
const mimeType = 'image/heic'
const rocket = await readCorpus('accept/rocket.jpg')
// As phones make them, of tiles and on their side.
const of48 = () => heic({ columns: 32, rows: 24, width: 8064, height: 6048, properties: [turn(3)] })
const of12 = (coded: Coded) => heic({ coded, columns: 16, rows: 12, width: 4032, height: 3024, properties: [turn(3)] })

describe('at the default limits', () => {
  const pool = openPool()
  const rows: string[] = []
  afterAll(() => console.log(`\n| HEIC | CPU s |\n|---|--:|\n${rows.join('\n')}`))

  test('48 megapixels have their clean copy and their rendition', async () => {
    const bytes = of48()
    const clean = await pool.run(job({ kind: 'clean', mimeType }, bytes))
    const { width, height, format } = await sharp(clean.bytes, { limitInputPixels: false }).metadata()
    expect([width, height, format]).toEqual([6048, 8064, 'jpeg'])
    const made = await pool.run(job(renditionOf(mimeType, 6048, 8064), bytes))
    expect(made).toMatchObject({ width: 6048, height: 8064, placeholder: { dominantColor: expect.any(String) } })
  })

  test('12 megapixels become 640 pixels, and what that costs is printed', async () => {
    const task = renditionOf(mimeType, 3024, 4032)
    if (task.kind !== 'rendition') throw new Error('another task')
    const rendition = { ...task.rendition, width: 480, height: 640 }
    // Flat, and where there is an encoder, with about as much detail as photos of phones have: 2 to 3 MB.
    const tiles = { flat: FOUR_COLOURS, ...(findHeifEnc() !== null && { detailed: await detailedTile() }) }
    for (const [name, coded] of Object.entries(tiles)) {
      const before = await cpuOfDecoders()
      await pool.run(job({ ...task, rendition }, of12(coded)))
      const megabytes = (coded.data.length * 16 * 12) / 1e6
      const seconds = (await cpuOfDecoders()) - before
      rows.push(`| 12 megapixels to 640 px, ${name}: as of ${megabytes.toFixed(1)} MB | ${seconds.toFixed(2)} |`)
    }
  })
})

test('one that needs more memory than a decoder has is too dear: 503, and tried again', async () => {
  const pool = openPool({ decoderMemoryBytes: 160 * MiB })
  const failure = await failureOf(pool.run(job({ kind: 'clean', mimeType }, of48())))
  expect(failure).toMatchObject({ kind: 'too-dear', code: 'image_too_large' })
  expect((await pool.run(job(renditionOf('image/jpeg', 640, 427), rocket))).width).toBe(640)
})

test('there is one at a time, and it keeps no other picture waiting while there are places', async () => {
  const pool = openPool({ decoders: 2 })
  const bytes = heic()
  const { promise: held, resolve } = Promise.withResolvers<void>()
  let read = 0
  const source = {
    sizeBytes: bytes.length,
    async *read() {
      read += 1
      await held
      yield bytes
    },
  }
  const first = pool.run(job({ kind: 'placeholder', mimeType }, bytes, { source }))
  const second = pool.run(job({ kind: 'placeholder', mimeType }, bytes, { source, party: 'owner:2' }))
  await untilTrue(() => read === 1 && pool.usage().waiting === 1)
  expect((await pool.run(job(renditionOf('image/jpeg', 640, 427), rocket))).width).toBe(640)
  expect([read, pool.usage()]).toMatchObject([1, { busy: 1, waiting: 1 }])
  resolve()
  expect([(await first).width, (await second).width]).toEqual([256, 256])
  expect(read).toBe(2)
})

test('bytes that libheif refuses are bad, and cost no other picture its decoder', async () => {
  const pool = openPool()
  const torn = heic().slice(0, -200)
  expect(await failureOf(pool.run(job({ kind: 'clean', mimeType }, torn)))).toMatchObject({
    kind: 'bad-bytes',
    code: 'image_unreadable',
  })
  // libheif calls its own limits on what a file claims an error of memory.
  const claims = heic({ properties: Array.from({ length: 100 }, () => turn(1)) })
  expect(await failureOf(pool.run(job({ kind: 'clean', mimeType }, claims)))).toMatchObject({ kind: 'bad-bytes' })
  expect((await pool.run(job({ kind: 'placeholder', mimeType }, heic()))).width).toBe(256)
})

/** A tile out of a photo of stars. */
async function detailedTile(): Promise<Coded> {
  const stars = sharp(await readCorpus('accept/hubble.jpg')).extract({ left: 200, top: 200, width: 256, height: 256 })
  return codedOf(await encodeHeic(await stars.png().toBuffer(), 'png', '-q', '45'), 256)
}

async function cpuOfDecoders(): Promise<number> {
  const seconds = await Promise.all(decodersOf().map(cpuSecondsOf))
  return seconds.reduce<number>((sum, one) => sum + (one ?? 0), 0)
}
