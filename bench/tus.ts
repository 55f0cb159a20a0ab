/** A file of 2 GiB by tus: all of it passes through the service, by way of the temporary folder. */
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { answered, type MediaObject, newUser } from '../test/support/http/client.ts'
import { jpegOf, MiB } from '../test/support/http/parts.ts'
import { tusUpload } from '../test/support/http/tus-client.ts'
import type { Stage } from '../test/support/process/acceptance.ts'
import type { Figure } from './figure.ts'
import { growthOver } from './growth.ts'

const SIZE = 2048 * MiB
const REQUEST = 256 * MiB
const PIECE = MiB

export const tus: Figure = {
  name: '2 GiB by tus, growth of the service',
  mostMb: 100,
  measure: () => growthOver(SIZE, upload),
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
