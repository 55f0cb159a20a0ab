/** A file of 2 GiB, sent in parts straight to the store: none of it passes through the service. */
import { randomBytes } from 'node:crypto'
import { answered, type MediaObject, newUser } from '../test/support/http/client.ts'
import { jpegOf, MiB, type Multipart, partsClient } from '../test/support/http/parts.ts'
import type { Stage } from '../test/support/process/acceptance.ts'
import type { Figure } from './figure.ts'
import { growthOver } from './growth.ts'

const SIZE = 2048 * MiB
const POOL = 64 * MiB
const AT_ONCE = 4
const LINKS = 100

export const multipart: Figure = {
  name: '2 GiB in parts, growth of the service',
  mostMb: 10,
  measure: () => growthOver(SIZE, upload),
}

async function upload(stage: Stage, size: number): Promise<void> {
  const user = newUser()
  const { begin, links } = partsClient(stage)
  const { id, partSize } = await answered<Multipart>(200, await begin(user, { size }))
  const last = Math.ceil(size / partSize)
  const [first, pool] = [await jpegOf(partSize), randomBytes(POOL)]
  const bodyOf = (partNumber: number) => {
    const length = partNumber === last ? size - (last - 1) * partSize : partSize
    if (partNumber === 1) return first.subarray(0, length)
    const from = (partNumber * partSize) % (POOL - partSize + 1)
    return pool.subarray(from, from + length)
  }
  const numbers = Array.from({ length: last }, (_, i) => i + 1)
  while (numbers.length > 0) {
    const { urls } = await links(user, id, numbers.splice(0, LINKS))
    const sender = async () => {
      for (let link = urls.shift(); link !== undefined; link = urls.shift()) {
        const answer = await fetch(link.url, { method: 'PUT', body: bodyOf(link.partNumber) })
        if (!answer.ok) throw new Error(`part ${link.partNumber}: ${answer.status} ${await answer.text()}`)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, sender))
  }
  const { sizeBytes } = await answered<MediaObject>(200, await stage.complete(user, id))
  if (sizeBytes !== size) throw new Error(`stored ${sizeBytes} bytes of ${size}`)
}
