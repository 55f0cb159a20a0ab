/** A file of 2 GiB by tus: all of it passes through the service, by way of the temporary folder. */
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { answered, type MediaObject, newUser } from '../test/acceptance/client.ts'
import { jpegOf, MiB } from '../test/acceptance/parts.ts'
import { openStage, type Stage } from '../test/acceptance/stage.ts'
import { tusUpload } from '../test/acceptance/tus-client.ts'
import type { Figure } from './memory.ts'
import { peakOf, resetPeak, residentOf } from './process-memory.ts'

const SIZE = 2048 * MiB
const WARM_UP = { times: 10, size: 40 * MiB }
const REQUEST = 256 * MiB
const PIECE = MiB

export const tus: Figure = {
  name: '2 GiB by tus, growth of the service',
  mostMb: 100,
  async measure() {
    const stage = await openStage({ MAX_OBJECT_BYTES: String(SIZE) })
    try {
      const { pid } = stage.service
      // What is loaded and compiled with the first uploads is there from then on, whatever their size.
      for (let i = 0; i < WARM_UP.times; i++) await upload(stage, WARM_UP.size)
      await resetPeak(pid)
      const before = await residentOf(pid)
      const start = performance.now()
      await upload(stage, SIZE)
      const seconds = (performance.now() - start) / 1000
      return {
        bytes: (await peakOf(pid)) - before,
        note: `${Math.round(SIZE / seconds / 1e6)} MB/s; ${Math.round(before / 1e6)} MB before`,
      }
    } finally {
      await stage.close()
    }
  },
}

async function upload(stage: Stage, size: number): Promise<void> {
  const user = newUser()
  const [first, more] = [await jpegOf(PIECE), randomBytes(PIECE)]
  function* pieces() {
    yield Buffer.from(first)
    for (let at = PIECE; at < size; at += PIECE) yield more
  }
  const { id } = await tusUpload(
    stage.baseUrl,
    user,
    Readable.from(pieces(), { objectMode: false, highWaterMark: PIECE }),
    {
      uploadSize: size,
      chunkSize: REQUEST,
    },
  )
  const { sizeBytes } = await answered<MediaObject>(200, await stage.get(user, id))
  if (sizeBytes !== size) throw new Error(`stored ${sizeBytes} bytes of ${size}`)
}
