/** What decoding a HEIC may cost, in the processes of the pool. */
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import sharp from 'sharp'
import { cpuSecondsOf } from '../../src/pictures/system.ts'
import { until as untilTrue } from '../support/clock/until.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { heic, turn } from '../support/pictures/heic.ts'
import { decodersOf, failureOf, job, openPool, renditionOf } from '../support/pictures/pool.ts'

setDefaultTimeout(120_000)

const MiB = 1024 * 1024
const mimeType = 'image/heic'
const rocket = await readCorpus('accept/rocket.jpg')
// As phones make them, of tiles and on their side.
const of48 = () => heic({ columns: 32, rows: 24, width: 8064, height: 6048, properties: [turn(3)] })
const of12 = () => heic({ columns: 16, rows: 12, width: 4032, height: 3024, properties: [turn(3)] })

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

  test('12 megapixels become 640 pixels', async () => {
    const task = renditionOf(mimeType, 3024, 4032)
    if (task.kind !== 'rendition') throw new Error('another task')
    const rendition = { ...task.rendition, width: 480, height: 640 }
    const [pid = 0] = decodersOf()
    const before = (await cpuSecondsOf(pid)) ?? 0
    await pool.run(job({ ...task, rendition }, of12()))
    rows.push(`| 12 megapixels to 640 px, flat | ${(((await cpuSecondsOf(pid)) ?? 0) - before).toFixed(2)} |`)
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
  expect((await pool.run(job({ kind: 'placeholder', mimeType }, heic()))).width).toBe(256)
})
