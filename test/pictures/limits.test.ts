/** What decoding may cost, and whose fault it is when it costs more. */
import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import sharp, { type Sharp } from 'sharp'
import type { DecodeTask } from '../../src/pictures/decoding.ts'
import { startProcess } from '../../src/pictures/process.ts'
import { GUESSED_RESERVE_BYTES, startOf } from '../../src/pictures/start.ts'
import { isSpent } from '../../src/pictures/warm.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { gif, gifFrame } from '../support/pictures/made-pictures.ts'
import { decodersOf, failureOf, job, openPool, renditionOf, slowJob } from '../support/pictures/pool.ts'
import { longForms } from '../support/process/long.ts'

setDefaultTimeout(120_000)

const MiB = 1024 * 1024
const rocket = await readCorpus('accept/rocket.jpg')

/** Of one colour: what decoders take depends on the size alone. */
const flat = (width: number, height: number): Sharp =>
  sharp({ create: { width, height, channels: 3, background: '#c04020' }, limitInputPixels: false })
/** Like a photo, for encoders that take more for what is full of detail. */
const photo = (width: number, height: number): Sharp => sharp(rocket).resize(width, height, { fit: 'fill' })

describe('at the default limits', () => {
  const pool = openPool()
  type Case = [name: string, type: string, width: number, height: number, make: () => Sharp]
  // Takes less than the progressive and the interlaced one of its type.
  const lesser: Case[] = [
    ['a JPEG of 64 megapixels', 'image/jpeg', 8000, 8000, () => flat(8000, 8000).jpeg()],
    ['a PNG of 64 megapixels', 'image/png', 8000, 8000, () => flat(8000, 8000).ensureAlpha(0.5).png()],
  ]
  const sizes: Case[] = [
    ...(longForms ? lesser : []),
    [
      'a progressive JPEG of 64 megapixels, without subsampling',
      'image/jpeg',
      8000,
      8000,
      () => flat(8000, 8000).jpeg({ progressive: true, chromaSubsampling: '4:4:4' }),
    ],
    [
      'an interlaced PNG of 64 megapixels',
      'image/png',
      8000,
      8000,
      () => flat(8000, 8000).ensureAlpha(0.5).png({ progressive: true, compressionLevel: 1 }),
    ],
    ['a WebP of 16 megapixels', 'image/webp', 4000, 4000, () => photo(4000, 4000).webp({ effort: 0 })],
    ['an AVIF of 12 megapixels', 'image/avif', 4000, 3000, () => photo(4000, 3000).avif({ effort: 0 })],
  ]

  test.each(sizes)('%s has its clean copy and its rendition', async (_, mimeType, width, height, make) => {
    const bytes = await make().toBuffer()
    const clean = await pool.run(job({ kind: 'clean', mimeType }, bytes))
    expect(await sizeOf(clean.bytes)).toEqual({ width, height })
    const { bytes: made } = await pool.run(job(renditionOf(mimeType, width, height), bytes))
    expect((await sizeOf(made)).width).toBe(64)
  })
})

describe('a picture that needs more memory than a decoder may take is too dear, whatever the decoder says', () => {
  const pool = openPool({ decoderMemoryBytes: 160 * MiB })
  const dear: [name: string, task: DecodeTask, make: () => Promise<Uint8Array>][] = [
    // An exception, with a message about memory.
    [
      'a progressive JPEG',
      renditionOf('image/jpeg', 6000, 6000),
      () => bytesOf(flat(6000, 6000).jpeg({ progressive: true, chromaSubsampling: '4:4:4' })),
    ],
    [
      'an interlaced PNG',
      renditionOf('image/png', 7000, 7000),
      () => bytesOf(flat(7000, 7000).png({ progressive: true })),
    ],
    // The process ends with SIGABRT.
    ['a GIF', { kind: 'clean', mimeType: 'image/gif' }, async () => gif(8000, 8000, gifFrame(8000, 8000))],
    // "unable to read pixels", "Encoder plugin generated an error".
    ['a WebP', { kind: 'clean', mimeType: 'image/webp' }, () => bytesOf(photo(4000, 4000).webp({ effort: 0 }))],
    ['an AVIF', { kind: 'clean', mimeType: 'image/avif' }, () => bytesOf(photo(2500, 2000).avif({ effort: 0 }))],
  ]

  test.each(dear)('%s', async (_, task, make) => {
    const failure = await failureOf(pool.run(job(task, await make())))
    expect(failure).toMatchObject({ kind: 'too-dear', code: 'image_too_large' })
    expect((await pool.run(job(renditionOf('image/jpeg', 640, 427), rocket))).bytes?.length).toBeGreaterThan(0)
  })
})

describe('CPU time', () => {
  test('is for one job: many that stay below it are done by one process', async () => {
    const slow = await slowJob(500)
    const seconds = await cpuSecondsOf(slow)
    const pool = openPool({ decoderCpuSeconds: 2 * seconds })
    await pool.run(slow)
    const processes = decodersOf()
    for (let jobs = 1; jobs < 4; jobs += 1) await pool.run(slow)
    expect(decodersOf()).toEqual(processes)
    expect(pool.usage().outcomes).toEqual({ done: 4, 'bad-bytes': 0, 'too-dear': 0, 'not-done': 0 })
  })

  test('that one job passes makes it too dear, and does not end the next one', async () => {
    const slow = await slowJob()
    const pool = openPool({ decoderCpuSeconds: (await cpuSecondsOf(slow)) / 4 })
    await pool.run(job(renditionOf('image/jpeg', 640, 427), rocket))
    expect(await failureOf(pool.run(slow))).toMatchObject({ kind: 'too-dear', code: 'image_too_large' })
    expect((await pool.run(job(renditionOf('image/jpeg', 640, 427), rocket))).width).toBe(640)
  })
})

describe('one process', () => {
  const patient = { cpuSeconds: 600, transferMs: 600_000, ms: 600_000 }

  test('is ended by the service at the CPU limit of its job, where it does not end itself', async () => {
    const { task, source } = await slowJob()
    const decoder = await startDecoder()
    const ended = await decoder.run(task, source, { ...patient, cpuSeconds: 0.2 })
    expect(ended).toEqual({ kind: 'limit', said: 'more than 0.2 seconds of CPU' })
    await decoder.ended
  })

  test('ends itself for memory where the system does not', async () => {
    const bytes = await bytesOf(flat(8000, 8000).jpeg({ progressive: true }))
    const decoder = await startDecoder({ memoryBytes: 64 * MiB })
    const { task, source } = job(renditionOf('image/jpeg', 8000, 8000), bytes)
    const ended = await decoder.run(task, source, patient)
    expect(ended).toEqual({ kind: 'limit', said: expect.stringMatching(/^\d{9} bytes resident$/) })
    await decoder.ended
  })

  test('that the system ends at the CPU limit of its life has not made its job too dear', async () => {
    const { task, source } = await slowJob(2000)
    const decoder = await startDecoder({ lifeCpuSeconds: 1 })
    expect(await decoder.run(task, source, patient)).toMatchObject({ kind: 'lost' })
    await decoder.ended
  })

  test.each([
    ['that hangs', { ms: 200 }, 'more than 200 ms'],
    ['whose bytes do not come', { transferMs: 200 }, 'its bytes came too slowly'],
  ])('%s is ended, and it is nobody’s fault', async (_, limits, said) => {
    const decoder = await startDecoder()
    process.kill(decoder.pid, 'SIGSTOP')
    const { task, source } = job(renditionOf('image/jpeg', 8000, 8000), new Uint8Array(8 * MiB))
    expect(await decoder.run(task, source, { ...patient, ...limits })).toEqual({ kind: 'lost', said })
    await decoder.ended
  })
})

test('a process is retired when less than the allowance of one job is left, or after its last', () => {
  const given = { jobs: 100, cpuSeconds: 20, lifeCpuSeconds: 2010 }
  expect(isSpent({ jobs: 99, cpuSeconds: 1990 }, given)).toBe(false)
  expect(isSpent({ jobs: 99, cpuSeconds: 1990.01 }, given)).toBe(true)
  expect(isSpent({ jobs: 100, cpuSeconds: 5 }, given)).toBe(true)
})

/** Without limits on data that matter, and patient with its job. */
function startDecoder({ memoryBytes = 1024 * MiB, lifeCpuSeconds = 600 } = {}) {
  const limits = { dataBytes: 2048 * MiB + GUESSED_RESERVE_BYTES, cpuSeconds: lifeCpuSeconds }
  return startProcess(startOf(limits, [String(memoryBytes), '600', 'image/jpeg']))
}

/** What a job takes here and now, by the process that did it. */
async function cpuSecondsOf({ task, source }: Awaited<ReturnType<typeof slowJob>>): Promise<number> {
  const decoder = await startDecoder()
  const before = decoder.cpuSeconds()
  const { kind } = await decoder.run(task, source, { cpuSeconds: 600, transferMs: 600_000, ms: 600_000 })
  await decoder.end()
  expect(kind).toBe('done')
  return decoder.cpuSeconds() - before
}

async function bytesOf(picture: Sharp): Promise<Uint8Array> {
  return picture.toBuffer()
}

async function sizeOf(bytes: Uint8Array | undefined): Promise<{ width: number; height: number }> {
  const { width, height } = await sharp(bytes, { limitInputPixels: false }).metadata()
  return { width, height }
}
