import { describe, expect } from 'bun:test'
import {
  answered,
  type Client,
  expectProblem,
  type MediaObject,
  newUser,
  type Presigned,
  until,
} from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { faultTest } from '../support/process/faults.ts'
import { haveServices } from '../support/services/shared.ts'

describe.skipIf(!(await haveServices()))('an upload with an Idempotency-Key', () => {
  faultTest('waits for a first one that is still at work', async (stage) => {
    const user = newUser()
    stage.store.delay(2000)
    const first = upload(stage, user, 'key')
    await until(async () => expect(await stage.inside.rowsOf(user)).toHaveLength(1))
    const again = upload(stage, user, 'key')
    const { id } = await answered<MediaObject>(201, await first)
    expect(await answered<MediaObject>(201, await again)).toMatchObject({ id })
  })

  faultTest('is told when to come again while the first one hangs, and then makes the object', async (stage) => {
    const user = newUser()
    await stage.store.blackhole()
    const first = upload(stage, user, 'key')
    await until(async () => expect(await stage.inside.rowsOf(user)).toHaveLength(1))
    const early = await upload(stage, user, 'key')
    expect(Number(early.headers.get('retry-after'))).toBeGreaterThan(0)
    await expectProblem(early, 409, 'state_conflict')
    await expectProblem(await first, 503, 'storage_unavailable')
    await stage.store.pass()
    const { id } = await answered<MediaObject>(201, await patiently(() => upload(stage, user, 'key')))
    expect((await stage.page(user)).items.map((item) => item.id)).toEqual([id])
  })

  // Without `attemptSeconds`, the killed attempt's row would block the key until PENDING_SECONDS are over.
  faultTest('succeeds after the process with the first one was killed, with one object', async (stage) => {
    const user = newUser()
    await stage.store.blackhole()
    const first = upload(stage, user, 'key').catch((error: Error) => error)
    await until(async () => expect(await stage.inside.rowsOf(user)).toHaveLength(1))
    await stage.service.kill()
    expect(await first).toBeInstanceOf(Error)
    const another = await stage.startAnother()
    const { id } = await answered<MediaObject>(201, await patiently(() => upload(another, user, 'key')))
    expect((await another.page(user)).items.map((item) => item.id)).toEqual([id])
    expect((await stage.inside.rowsOf(user)).filter(({ status }) => status !== 'purging')).toHaveLength(1)
  })
})

describe.skipIf(!(await haveServices()))('a presign with an Idempotency-Key', () => {
  faultTest(
    'is the same to another process after the first was killed, and refused for another file',
    async (stage) => {
      const user = newUser()
      const { id } = await answered<Presigned>(200, await presign(stage, user, 'key'))
      await stage.service.kill()
      const another = await stage.startAnother()
      expect(await answered<Presigned>(200, await presign(another, user, 'key'))).toMatchObject({ id })
      await expectProblem(await presign(another, user, 'key', { size: 5 }), 409, 'idempotency_conflict')
    },
  )
})

async function upload({ call }: Client, as: string, key: string): Promise<Response> {
  const content = await readCorpus('accept/rocket.jpg')
  const { body, headers } = multipart([{ name: 'file', filename: 'a.jpg', type: 'image/jpeg', content }])
  return call('/media/upload', { as, method: 'POST', body, headers: { ...headers, 'idempotency-key': key } })
}

async function presign({ call }: Client, as: string, key: string, declared: object = {}): Promise<Response> {
  const json = { filename: 'a.jpg', fileType: 'image/jpeg', ...declared }
  return call('/media/presign', { as, method: 'POST', json, headers: { 'idempotency-key': key } })
}

/** Comes again as Retry-After says, for a minute. */
async function patiently(attempt: () => Promise<Response>): Promise<Response> {
  const end = Date.now() + 60_000
  for (;;) {
    const response = await attempt()
    const pause = Number(response.headers.get('retry-after'))
    if (response.ok || pause === 0 || Date.now() > end) return response
    await response.body?.cancel()
    await Bun.sleep(pause * 1000)
  }
}
