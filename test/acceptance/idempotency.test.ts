import { describe, expect, test } from 'bun:test'
import { answered, expectProblem, type MediaObject, newUser, type Presigned, tokenFor } from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { jpegOf, MiB, type Multipart, partsClient } from '../support/http/parts.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, usualStage } from '../support/process/acceptance.ts'

const stage = await usualStage()
const { call, complete, inside, page, put, remove } = stage
const { send } = partsClient(stage)
const rocket = await readCorpus('accept/rocket.jpg')

/** The ways in that take an Idempotency-Key: `begin` asks, `finish` makes it an object. */
const ways = [
  {
    way: 'a direct upload',
    begin: (as: string, key: string) => {
      const { body, headers } = multipart([{ name: 'file', filename: 'a.jpg', content: rocket }])
      return call('/media/upload', { as, method: 'POST', body, headers: { ...headers, 'idempotency-key': key } })
    },
    finish: (_: string, begun: Response) => answered<MediaObject>(201, begun),
  },
  {
    way: 'a presign',
    begin: (as: string, key: string) => post(as, '/media/presign', key, rocket.length),
    async finish(as: string, begun: Response) {
      const link = await answered<Presigned>(200, begun)
      await put(link, rocket)
      return answered<MediaObject>(200, await complete(as, link.id))
    },
  },
  {
    way: 'a multipart upload',
    begin: (as: string, key: string) => post(as, '/media/multipart', key, 9 * MiB),
    async finish(as: string, begun: Response) {
      const upload = await answered<Multipart>(200, begun)
      await send(as, upload, await jpegOf(9 * MiB))
      return answered<MediaObject>(200, await complete(as, upload.id))
    },
  },
].filter(({ way }) => backend === 'real' || way !== 'a multipart upload')

function post(as: string, path: string, key: string, size: number): Promise<Response> {
  const json = { filename: 'a.jpg', fileType: 'image/jpeg', size }
  return call(path, { as, method: 'POST', json, headers: { 'idempotency-key': key } })
}

describe.each(ways)('$way, with the same Idempotency-Key', ({ way, begin, finish }) => {
  test('once it is complete, gives no link, but the id to go on with', async () => {
    const user = newUser()
    const { id } = await finish(user, await begin(user, 'key'))
    const again = await begin(user, 'key')
    if (way === 'a direct upload')
      expect(await answered<MediaObject>(201, again)).toMatchObject({ id, status: 'active' })
    else expect((await expectProblem(again, 409, 'state_conflict')).id).toBe(id)
    expect(await answered<MediaObject>(200, await complete(user, id))).toMatchObject({ id, status: 'active' })
    expect((await page(user)).items).toHaveLength(1)
  })

  test('after DELETE, and on its way out, is a conflict, never a new link or an object that is deleted', async () => {
    const user = newUser()
    const { id } = await finish(user, await begin(user, 'key'))
    expect((await remove(user, id)).status).toBe(204)
    expect((await expectProblem(await begin(user, 'key'), 409, 'state_conflict')).id).toBe(id)
    const service = { authorization: `Bearer ${await tokenFor(newUser(), { role: 'service' })}` }
    await answered(202, await call(`/media?userId=${user}`, { method: 'DELETE', headers: service }))
    // For an hour at least, since the link to it or its own PUT may still be at work.
    expect((await inside?.rowOf(id))?.status).toBe(inside && 'purging')
    expect((await expectProblem(await begin(user, 'key'), 409, 'state_conflict')).id).toBe(id)
  })
})

test.each(ways.filter(({ way }) => way !== 'a direct upload'))(
  '$way that was given up may be begun anew with its key',
  async ({ begin, finish }) => {
    const user = newUser()
    const { id } = await answered<{ id: string }>(200, await begin(user, 'key'))
    expect((await call(`/media/${id}/upload`, { as: user, method: 'DELETE' })).status).toBe(204)
    const object = await finish(user, await begin(user, 'key'))
    expect(object.id).not.toBe(id)
  },
)

describe('a direct upload with an Idempotency-Key', () => {
  // Without the unique index media_objects_idempotency there would be several.
  test('that is sent many times at once makes one object', async () => {
    const user = newUser()
    const responses = await Promise.all(Array.from({ length: 10 }, () => upload(user)))
    const objects = await Promise.all(responses.map((response) => answered<MediaObject>(201, response)))
    const [{ id, key } = { id: '', key: '' }] = objects
    expect(new Set(objects.map((object) => object.id))).toEqual(new Set([id]))
    expect((await page(user)).items.map((item) => item.id)).toEqual([id])
    expect((await inside?.rowsOf(user))?.map((row) => row.id)).toEqual(inside && [id])
    expect(await inside?.keys(`media/${id}/`)).toEqual(inside && [key])
  })

  test('is refused when the key came with another file, name or visibility, but not for others', async () => {
    const user = newUser()
    const { id } = await answered<MediaObject>(201, await upload(user))
    for (const other of [{ file: 'accept/cat.webp' }, { name: 'b.jpg' }, { visibility: 'public' }])
      await expectProblem(await upload(user, other), 409, 'idempotency_conflict')
    await expectProblem(await post(user, '/media/presign', 'key', rocket.length), 409, 'idempotency_conflict')
    expect(await answered<MediaObject>(201, await upload(user))).toMatchObject({ id })
    expect((await answered<MediaObject>(201, await upload(newUser()))).id).not.toBe(id)
  })
})

test('a presign that is sent many times at once prepares one object, whose links all fit it', async () => {
  const user = newUser()
  const responses = await Promise.all(
    Array.from({ length: 10 }, () => post(user, '/media/presign', 'key', rocket.length)),
  )
  const links = await Promise.all(responses.map((response) => answered<Presigned>(200, response)))
  expect(new Set(links.map(({ id, key }) => `${id} ${key}`)).size).toBe(1)
  const puts = await Promise.all(links.slice(0, 3).map((link) => put(link, rocket)))
  expect(puts.map(({ status }) => status).sort()).toEqual([200, 412, 412])
  await answered(200, await complete(user, String(links[0]?.id)))
  expect((await page(user)).items).toHaveLength(1)
  expect(await inside?.rowsOf(user)).toEqual(inside && [expect.anything()])
})

async function upload(
  as: string,
  { file = 'accept/rocket.jpg', name = 'a.jpg', visibility = 'private' } = {},
): Promise<Response> {
  const { body, headers } = multipart([
    { name: 'visibility', content: visibility },
    { name: 'file', filename: name, type: 'image/jpeg', content: await readCorpus(file) },
  ])
  return call('/media/upload', { as, method: 'POST', body, headers: { ...headers, 'idempotency-key': 'key' } })
}
