import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { answered, newUser } from '../support/http/client.ts'
import { jpegOf, MiB, type Multipart, type PartLinks, partsClient } from '../support/http/parts.ts'
import { backend, openStage } from '../support/process/acceptance.ts'
import { createFolder } from '../support/services/folder.ts'
import { otherS3Stores } from '../support/services/other-s3-stores.ts'

setDefaultTimeout(120_000)

const ends: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end()
}, 60_000)

const ROUNDS = 20
const AT_ONCE = 10

for (const { name, present, start } of otherS3Stores) {
  describe.skipIf(backend === 'embedded' || !present)(`on ${name}`, () => {
    test('parallel and repeated completions of a multipart upload are never refused', async () => {
      const folder = await createFolder()
      ends.push(folder.remove)
      const { url, stop } = await start(folder.path)
      ends.push(stop)
      const stage = await openStage({ S3_ENDPOINT: url })
      ends.push(stage.close)
      const user = newUser()
      const bytes = await jpegOf(9 * MiB)
      const { begin } = partsClient(stage)
      const answers = new Map<number, number>()
      for (let round = 0; round < ROUNDS; round += 1) {
        const declared = { size: bytes.length, partChecksums: 'md5' }
        const upload = await answered<Multipart>(200, await begin(user, declared))
        const pieces = [bytes.subarray(0, upload.partSize), bytes.subarray(upload.partSize)]
        const md5 = pieces.map((piece) => createHash('md5').update(piece).digest('hex'))
        const asked = { as: user, method: 'POST', json: { partNumbers: [1, 2], md5 } }
        const { urls } = await answered<PartLinks>(200, await stage.call(`/media/${upload.id}/parts`, asked))
        for (const { partNumber, url, headers } of urls)
          expect((await fetch(url, { method: 'PUT', body: pieces[partNumber - 1] ?? '', headers })).status).toBe(200)
        const all = await Promise.all(Array.from({ length: AT_ONCE }, () => stage.complete(user, upload.id)))
        for (const { status } of all) answers.set(status, (answers.get(status) ?? 0) + 1)
        expect((await stage.complete(user, upload.id)).status).toBe(200)
      }
      expect([...answers.keys()].filter((status) => status !== 200 && status !== 503)).toEqual([])
      expect(answers.get(200)).toBeGreaterThan(0)
    })
  })
}
