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
  // Without the unique index media_objects_idempotency there would be several.
  faultTest('that is sent many times at once makes one object', async (stage) => {
    const user = newUser()
    const responses = await Promise.all(Array.from({ length: 10 }, () => upload(stage, user, 'key')))
    const objects = await Promise.all(responses.map((response) => answered<MediaObject>(201, response)))
    expect(new Set(objects.map(({ id }) => id)).size).toBe(1)
    const items = (await stage.page(user)).items
    expect(items.map(({ id }) => id)).toEqual([String(objects[0]?.id)])
    expect(await stage.inside.keys('media/')).toEqual(items.map(({ key }) => key))
  })

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

  faultTest('is refused when the key came with another file, name or visibility, but not for others', async (stage) => {
    const user = newUser()
    const { id } = await answered<MediaObject>(201, await upload(stage, user, 'key'))
    for (const other of [{ file: 'accept/cat.webp' }, { name: 'b.jpg' }, { visibility: 'public' }])
      await expectProblem(await upload(stage, user, 'key', other), 409, 'idempotency_conflict')
    await expectProblem(await presign(stage, user, 'key'), 409, 'idempotency_conflict')
    expect(await answered<MediaObject>(201, await upload(stage, user, 'key'))).toMatchObject({ id })
    expect((await answered<MediaObject>(201, await upload(stage, newUser(), 'key'))).id).not.toBe(id)
  })
})

describe.skipIf(!(await haveServices()))('a presign with an Idempotency-Key', () => {
  faultTest('that is sent many times at once prepares one object, whose links all fit it', async (stage) => {
    const user = newUser()
    const responses = await Promise.all(Array.from({ length: 10 }, () => presign(stage, user, 'key')))
    const links = await Promise.all(responses.map((response) => answered<Presigned>(200, response)))
    expect(new Set(links.map(({ id, key }) => `${id} ${key}`)).size).toBe(1)
    const bytes = await readCorpus('accept/rocket.jpg')
    const puts = await Promise.all(links.slice(0, 3).map((link) => stage.put(link, bytes)))
    expect(puts.map(({ status }) => status).sort()).toEqual([200, 412, 412])
    await answered(200, await stage.complete(user, String(links[0]?.id)))
    expect(await stage.inside.rowsOf(user)).toHaveLength(1)
  })

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

async function upload(
  { call }: Client,
  as: string,
  key: string,
  { file = 'accept/rocket.jpg', name = 'a.jpg', visibility = 'private' } = {},
): Promise<Response> {
  const { body, headers } = multipart([
    { name: 'visibility', content: visibility },
    { name: 'file', filename: name, type: 'image/jpeg', content: await readCorpus(file) },
  ])
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
