import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { createMediaClient } from '../../src/client/client.ts'
import {
  answered,
  expectInvalid,
  expectProblem,
  JWT_SECRET,
  type MediaObject,
  newUser,
  tokenFor,
} from '../support/http/client.ts'
import { jpegOf, MiB, type Multipart, type PartLinks, partsClient } from '../support/http/parts.ts'
import { backend, openParts, openStage, runtime } from '../support/process/acceptance.ts'
import { startService } from '../support/process/service.ts'
import { type Alteration, keepsHalves, startAlteredStore } from '../support/services/altered-store.ts'

setDefaultTimeout(120_000)

const ends: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end()
}, 60_000)

async function stageOn(alteration: Alteration) {
  const { endpoint, stop } = await startAlteredStore(alteration)
  ends.push(stop)
  const stage = await openStage({ S3_ENDPOINT: endpoint })
  ends.push(stage.close)
  return stage
}

describe.skipIf(backend === 'embedded')('a store that keeps half a part as a whole one', () => {
  test('gets parts with a checksum only, which their links enforce', async () => {
    const stage = await stageOn({ fills: ({ path }) => path.includes('partNumber=') })
    const { begin, sign } = partsClient(stage)
    const user = newUser()
    const bytes = await jpegOf(9 * MiB)
    const size = bytes.length
    await expectProblem(await begin(user, { size }), 409, 'state_conflict')
    const uppy = { method: 'POST', key: 'uppy', filename: 'a.jpg', fileType: 'image/jpeg', size }
    await expectProblem(await sign(user, uppy), 409, 'state_conflict')
    const upload = await answered<Multipart>(200, await begin(user, { size, partChecksums: 'md5' }))
    const ask = (json: object) => stage.call(`/media/${upload.id}/parts`, { as: user, method: 'POST', json })
    await expectProblem(await ask({ partNumbers: [1] }), 409, 'state_conflict')
    await expectInvalid(await ask({ partNumbers: [1, 2], md5: ['0'.repeat(32)] }), 'md5')
    const pieces = [bytes.subarray(0, upload.partSize), bytes.subarray(upload.partSize)]
    const md5 = pieces.map((piece) => createHash('md5').update(piece).digest('hex'))
    const { urls } = await answered<PartLinks>(200, await ask({ partNumbers: [1, 2], md5 }))
    for (const { partNumber, url, headers } of urls) {
      const body = pieces[partNumber - 1] ?? new Uint8Array()
      const broken = new Uint8Array(body)
      broken.fill(0, body.length / 2)
      expect((await fetch(url, { method: 'PUT', body: broken, headers })).status).toBe(400)
      expect((await fetch(url, { method: 'PUT', body, headers })).status).toBe(200)
    }
    const object = await answered<MediaObject>(200, await stage.complete(user, upload.id))
    expect(object.sizeBytes).toBe(size)
    expect(stage.service.logs()).toContain('keeps parts that arrived in half')
  })

  test('takes large files over one link, where the checksum would not help', async () => {
    const stage = await stageOn({ answer: keepsHalves })
    const { begin } = partsClient(stage)
    const user = newUser()
    await expectProblem(await begin(user, { partChecksums: 'md5' }), 409, 'state_conflict')
    const tus = await fetch(`${stage.service.baseUrl}/media/tus`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await tokenFor(user)}`,
        'tus-resumable': '1.0.0',
        'upload-length': '1000',
        'upload-metadata': `filetype ${btoa('image/jpeg')}`,
      },
    })
    await expectProblem(tus, 409, 'state_conflict')
    expect((await fetch(`${stage.service.baseUrl}/media/tus`, { method: 'OPTIONS' })).status).toBe(204)
    const client = createMediaClient({ baseUrl: stage.service.baseUrl, token: () => tokenFor(user) })
    const file = new Blob([await jpegOf(33 * MiB)], { type: 'image/jpeg' })
    expect((await client.upload(file, { name: 'large.jpg' })).sizeBytes).toBe(file.size)
  })
})

describe.skipIf(backend === 'embedded')('a store that serves private originals to anybody', () => {
  const open: Alteration = {
    answer: ({ method, path }) =>
      method === 'GET' && path.endsWith('/source') ? { status: 200, body: 'probe' } : undefined,
  }
  const sentence =
    "S3_BUCKET: anybody can read private originals under media/ without a signature; take the rights of anonymous users out of the bucket's policy"

  test('ends the start in production, and is warned about elsewhere', async () => {
    const { endpoint, stop } = await startAlteredStore(open)
    ends.push(stop)
    const parts = await openParts()
    ends.push(parts.remove)
    const env = { ...parts.env, S3_ENDPOINT: endpoint, AUTH_JWT_SECRET: JWT_SECRET }
    const production = { ...env, NODE_ENV: 'production', PUBLIC_BASE_URL: 'https://media.example.test' }
    const refused = await startService({ runtime, env: production }).catch((error) => String(error))
    expect(refused).toContain(`The service cannot start: ${sentence}`)
    const service = await startService({ runtime, env })
    ends.push(service.stop)
    expect(service.logs()).toContain(`${sentence}; refused in production`)
  })
})
