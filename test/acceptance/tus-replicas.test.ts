import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  answered,
  createClient,
  expectBytes,
  expectProblem,
  newUser,
  type SignedMediaObject,
  until,
} from '../support/http/client.ts'
import { jpegOf, MiB, uploadsUnderWay } from '../support/http/parts.ts'
import {
  idIn,
  patchAt,
  slowPatch,
  startRoundRobin,
  TUS,
  tusBroken,
  tusUpload,
  untilTaken,
} from '../support/http/tus-client.ts'
import { backend, expectNoFailures, openStage, runtime } from '../support/process/acceptance.ts'
import { type RunningService, startService } from '../support/process/service.ts'

const stage = await openStage()
// A lease lasts 10 seconds: as long as the others wait for a replica that died. And each shares the machine with all.
setDefaultTimeout(120_000)
let others: RunningService[] = []
afterAll(async () => {
  for (const other of others) await other.stop()
  await stage.close()
})
const another = async () => {
  const service = await startService({ runtime, env: stage.env })
  others.push(service)
  return service
}
/** For tests that leave it alone. */
const lasting = backend === 'embedded' ? stage : await another()
const expectStored = async (baseUrl: string, as: string, id: string, bytes: Uint8Array) => {
  const { signedUrl } = await answered<SignedMediaObject>(200, await createClient(baseUrl).get(as, id))
  await expectBytes(await fetch(signedUrl), bytes)
}
const at = (service: { baseUrl: string }, url: string) => service.baseUrl + new URL(url).pathname

// Side by side: each waits for leases to end, on an upload and with a replica of its own.
describe.skipIf(backend === 'embedded').concurrent('two replicas', () => {
  test('take the requests of one upload in turns', async () => {
    const front = await startRoundRobin([stage.baseUrl, lasting.baseUrl])
    try {
      const user = newUser()
      const bytes = await jpegOf(30 * MiB)
      const { id, url, log } = await tusUpload(front.url, user, bytes, { chunkSize: 7 * MiB })
      expect(url).toBe(`${front.url}/media/tus/${id}`)
      expect(log).toHaveLength(6)
      await expectStored(front.url, user, id, bytes)
      const uploadUrl = await tusBroken(front.url, user, bytes)
      const resumed = await tusUpload(front.url, user, bytes, { uploadUrl, chunkSize: 9 * MiB })
      await expectStored(front.url, user, resumed.id, bytes)
      expect(await stage.inside?.keys(`media/${resumed.id}/`)).toEqual([`media/${resumed.id}/original.jpg`])
      await until(async () => expect(await stage.inside?.streamed(resumed.id)).toHaveLength(1))
    } finally {
      await front.close()
    }
  })

  test('let one of them write at a time', async () => {
    const user = newUser()
    const bytes = await jpegOf(4 * MiB)
    const url = await begin(user, bytes.length)
    const first = await slowPatch(url, user, { offset: 0, length: bytes.length })
    await first.send(bytes.subarray(0, MiB))
    await untilTaken(url, user)
    const path = new URL(url).pathname
    const refused = await createClient(lasting.baseUrl).call(path, { as: user, ...patchAt(0), body: bytes })
    await expectProblem(refused, 423, 'upload_locked')
    await first.send(bytes.subarray(MiB))
    first.end()
    expect(await first.answered).toEqual({ status: 204, offset: bytes.length })
    await expectStored(lasting.baseUrl, user, idIn(url), bytes)
  })

  test('hand an upload over: a request gone silent stops when the other replica is asked', async () => {
    const user = newUser()
    const bytes = await jpegOf(12 * MiB)
    const url = await begin(user, bytes.length)
    const silent = await slowPatch(url, user, { offset: 0, length: bytes.length })
    await silent.send(bytes.subarray(0, 9 * MiB))
    await untilTaken(url, user)
    const resumed = await tusUpload(lasting.baseUrl, user, bytes, { uploadUrl: at(lasting, url) })
    expect(resumed.log[0]).toBe(`HEAD 200 ${9 * MiB}`)
    silent.destroy()
    await expectStored(lasting.baseUrl, user, resumed.id, bytes)
  })

  test('continue an upload on the other replica when one is killed', async () => {
    const second = await another()
    const user = newUser()
    const bytes = await jpegOf(50 * MiB)
    const uploadUrl = await new Promise<string>((resolve, reject) => {
      let url = ''
      tusUpload(second.baseUrl, user, bytes, {
        chunkSize: 17 * MiB,
        at: {
          part: 0.5,
          act(upload) {
            url = upload.url ?? ''
            second.kill().catch(reject)
          },
        },
      }).then(
        () => reject(new Error('it was over before the kill')),
        () => resolve(url),
      )
    })
    others = others.filter((other) => other !== second)
    const { id, log } = await tusUpload(stage.baseUrl, user, bytes, { uploadUrl: at(stage, uploadUrl) })
    expect(Number(log[0]?.split(' ')[2])).toBeGreaterThan(0)
    await expectStored(stage.baseUrl, user, id, bytes)
    expect(await stage.inside?.keys(`media/${id}/`)).toEqual([`media/${id}/original.jpg`])
  })

  test('continue an upload on the other replica when one is stopped, which keeps the bytes received', async () => {
    const second = await another()
    const user = newUser()
    const bytes = await jpegOf(12 * MiB)
    const url = at(second, await begin(user, bytes.length))
    const first = await slowPatch(url, user, { offset: 0, length: bytes.length })
    await first.send(bytes.subarray(0, 9 * MiB))
    await untilTaken(url, user)
    const stopped = second.stop()
    expect(await first.answered).toEqual({ status: 204, offset: 9 * MiB })
    const resumed = await tusUpload(stage.baseUrl, user, bytes, { uploadUrl: at(stage, url) })
    expect(resumed.log[0]).toBe(`HEAD 200 ${9 * MiB}`)
    await stopped
    expectNoFailures(second)
    await expectStored(stage.baseUrl, user, resumed.id, bytes)
  })

  test('end an upload at one while the other writes, and nothing of it is left', async () => {
    const user = newUser()
    const bytes = await jpegOf(20 * MiB)
    const url = await begin(user, bytes.length)
    const writing = await slowPatch(url, user, { offset: 0, length: bytes.length })
    await writing.send(bytes.subarray(0, 9 * MiB))
    await untilTaken(url, user)
    const { call } = createClient(lasting.baseUrl)
    expect((await call(new URL(url).pathname, { as: user, method: 'DELETE', headers: TUS })).status).toBe(204)
    writing.destroy()
    const id = idIn(url)
    expect(await stage.inside?.keys(`media/${id}/`)).toEqual([])
    expect(await uploadsUnderWay(stage.env.S3_BUCKET ?? '', `media/${id}/original.jpg`)).toEqual([])
    expect((await stage.inside?.rowOf(id))?.status).toBe('purging')
  })
})

describe.skipIf(backend !== 'embedded')('a process on its own', () => {
  test('is killed in the middle of an upload, and goes on with it when it is back', async () => {
    const user = newUser()
    const bytes = await jpegOf(60 * MiB)
    let url = ''
    let killed: Promise<void> | undefined
    const broken = tusUpload(stage.baseUrl, user, bytes, {
      chunkSize: 25 * MiB,
      at: {
        part: 0.5,
        act(upload) {
          url = upload.url ?? ''
          killed = stage.service.kill()
        },
      },
    })
    await expect(broken).rejects.toThrow()
    await killed
    const again = await another()
    const { id, log } = await tusUpload(again.baseUrl, user, bytes, { uploadUrl: at(again, url) })
    expect(Number(log[0]?.split(' ')[2])).toBeGreaterThan(0)
    await expectStored(again.baseUrl, user, id, bytes)
  })
})

/** A new upload at the first replica; its address. */
async function begin(as: string, length: number): Promise<string> {
  const headers = { ...TUS, 'upload-length': String(length), 'upload-metadata': 'filetype aW1hZ2UvanBlZw==' }
  const answer = await stage.call('/media/tus', { as, method: 'POST', headers })
  expect(answer.status).toBe(201)
  return answer.headers.get('location') ?? ''
}
