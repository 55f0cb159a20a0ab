/** What every implementation of `Decoders` keeps: the pool of processes, and the one of tests that has none. */
import { afterAll, describe, expect, test } from 'bun:test'
import sharp from 'sharp'
import { MAX_DECODED_BYTES } from '../../src/pictures/limits.ts'
import { refusal } from '../support/http/refusal.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { createInProcessDecoders } from '../support/pictures/in-process.ts'
import { failureOf, job, openPool, renditionOf } from '../support/pictures/pool.ts'

const rocket = await readCorpus('accept/rocket.jpg')
const gif = await readCorpus('accept/three-frames-120x80.gif')
const bomb = await readCorpus('refuse/bomb-900-megapixels.png')

for (const [name, open] of [
  ['in one process', createInProcessDecoders],
  ['of a pool of processes', openPool],
] as const) {
  describe(`decoders ${name}`, () => {
    const decoders = open()
    afterAll(() => decoders.stop(0))

    test('make a rendition, tell the size that they found, and bring the placeholder where it is wanted', async () => {
      const task = renditionOf('image/jpeg', 640, 427)
      const made = await decoders.run(job(task, rocket))
      expect(made).toMatchObject({ width: 640, height: 427, placeholder: { dominantColor: '#112d4f' } })
      const { width, height, format } = await sharp(made.bytes).metadata()
      expect([width, height, format]).toEqual([64, 43, 'webp'])
    })

    test('make nothing for another size than the one expected', async () => {
      const made = await decoders.run(job(renditionOf('image/jpeg', 427, 640), rocket))
      expect(made).toEqual({ width: 640, height: 427, bytes: undefined, placeholder: undefined })
    })

    test('make a copy without metadata, and a placeholder', async () => {
      const copy = await decoders.run(job({ kind: 'clean', mimeType: 'image/gif' }, gif))
      expect(copy).toMatchObject({ width: 120, height: 80 })
      expect((await sharp(copy.bytes).metadata()).pages).toBe(3)
      const { bytes, placeholder } = await decoders.run(job({ kind: 'placeholder', mimeType: 'image/jpeg' }, rocket))
      expect([bytes, placeholder?.dominantColor]).toEqual([undefined, '#112d4f'])
    })

    test('tell bytes that are bad from bytes that are too many', async () => {
      const torn = job(renditionOf('image/jpeg', 640, 427), rocket.slice(0, 300))
      expect(await failureOf(decoders.run(torn))).toMatchObject({ kind: 'bad-bytes', code: 'image_unreadable' })
      const pixels = job({ kind: 'placeholder', mimeType: 'image/png' }, bomb)
      expect(await failureOf(decoders.run(pixels))).toMatchObject({ kind: 'bad-bytes', code: 'image_too_large' })
      const source = { sizeBytes: MAX_DECODED_BYTES + 1, read: () => expect.unreachable('it was read') }
      const bytes = job({ kind: 'placeholder', mimeType: 'image/jpeg' }, rocket, { source })
      expect(await failureOf(decoders.run(bytes))).toMatchObject({ kind: 'bad-bytes', code: 'image_too_large' })
    })

    test('throw what reading the source throws', async () => {
      const gone = new Error('the store is down')
      async function* read() {
        yield rocket.subarray(0, 1000)
        throw gone
      }
      const source = { sizeBytes: rocket.length, read }
      expect(
        await refusal(decoders.run(job({ kind: 'placeholder', mimeType: 'image/jpeg' }, rocket, { source }))),
      ).toBe(gone)
      expect((await decoders.run(job(renditionOf('image/jpeg', 640, 427), rocket))).width).toBe(640)
    })

    test('have a version, and do nothing once they are stopped', async () => {
      const own = open()
      expect(own.version).toBe(decoders.version)
      await own.stop(0)
      const late = own.run(job(renditionOf('image/jpeg', 640, 427), rocket))
      expect(await failureOf(late)).toMatchObject({ kind: 'not-done', code: 'overloaded' })
    })
  })
}
