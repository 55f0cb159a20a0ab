import { afterAll, describe, expect, test } from 'bun:test'
import { readCorpus } from '../corpus.ts'
import { answered, expectInvalid, expectProblem, type MediaObject, newUser, until } from './client.ts'
import { runUpkeep } from './service.ts'
import { openStage } from './stage.ts'
import { described, patchAt, TUS } from './tus-client.ts'

const rocket = await readCorpus('accept/rocket.jpg')
const QUOTA_BYTES = 10 * rocket.length
const QUOTA_OBJECTS = 12
const { call, complete, env, get, inside, presign, presigned, put, remove, upload, uploaded, close } = await openStage({
  QUOTA_BYTES: String(QUOTA_BYTES),
  QUOTA_OBJECTS: String(QUOTA_OBJECTS),
  RETENTION_SECONDS: '1',
  UPLOAD_URL_SECONDS: '2',
})
afterAll(close)

/** Begins a tus upload; without a length it is to be declared later. */
const beginTus = (user: string, length?: number) =>
  call('/media/tus', {
    as: user,
    method: 'POST',
    headers: {
      ...TUS,
      ...(length === undefined ? { 'upload-defer-length': '1' } : { 'upload-length': String(length) }),
      'upload-metadata': described({ filename: 'a.jpg', filetype: 'image/jpeg' }),
    },
  })

/** An object that came over a link, which is dead soon. */
async function stored(user: string): Promise<MediaObject> {
  const link = await presigned(user, { size: rocket.length })
  await put(link, rocket)
  return answered<MediaObject>(200, await complete(user, link.id))
}

type Usage = { bytes: number; objects: number; quotaBytes: number; quotaObjects: number }
const usage = async (user: string) => answered<Usage>(200, await call('/media/usage', { as: user }))

describe('GET /media/usage', () => {
  test('counts what is stored and what is reserved, beside the quotas', async () => {
    const user = newUser()
    const quotas = { quotaBytes: QUOTA_BYTES, quotaObjects: QUOTA_OBJECTS }
    expect(await usage(user)).toEqual({ bytes: 0, objects: 0, ...quotas })
    await uploaded(user)
    await presigned(user, { size: 1000 })
    expect(await usage(user)).toEqual({ bytes: rocket.length + 1000, objects: 2, ...quotas })
  })
})

describe('an owner who has the quota', () => {
  test.each([
    ['bytes', QUOTA_BYTES - 1],
    ['objects', QUOTA_OBJECTS],
  ])('in %s gets 429 for one more, however it is to come, and nothing of it stays', async (_, amount) => {
    const user = newUser()
    if (amount === QUOTA_OBJECTS) for (let i = 0; i < QUOTA_OBJECTS; i++) await presigned(user, { size: 1 })
    else await presigned(user, { size: amount })
    const [before, stored] = [await usage(user), await inside?.keys()]
    const about = { filename: 'a.jpg', fileType: 'image/jpeg', size: rocket.length }
    await expectProblem(await upload(user, rocket), 429, 'quota_exceeded')
    await expectProblem(await presign(user, about), 429, 'quota_exceeded')
    if (inside) {
      const multipart = await call('/media/multipart', { as: user, method: 'POST', json: about })
      await expectProblem(multipart, 429, 'quota_exceeded')
    }
    await expectProblem(await beginTus(user, rocket.length), 429, 'quota_exceeded')
    expect(await usage(user)).toEqual(before)
    if (inside === undefined) return
    expect(await inside.rowsOf(user)).toHaveLength(before.objects)
    expect(await inside.keys()).toEqual(stored ?? [])
  })

  test('does not keep anybody else from uploading', async () => {
    const [full, other] = [newUser(), newUser()]
    await presigned(full, { size: QUOTA_BYTES })
    await expectProblem(await upload(full, rocket), 429, 'quota_exceeded')
    await uploaded(other)
  })

  test.skipIf(inside === undefined)('can upload again once something was purged', async () => {
    const user = newUser()
    const { id } = await stored(user)
    await presigned(user, { size: QUOTA_BYTES - rocket.length })
    await expectProblem(await upload(user, rocket), 429, 'quota_exceeded')
    expect((await remove(user, id)).status).toBe(204)
    // In the bin it still takes its place.
    await expectProblem(await upload(user, rocket), 429, 'quota_exceeded')
    await until(async () => {
      await runUpkeep(env)
      expect(await usage(user)).toMatchObject({ objects: 1 })
    })
    await uploaded(user)
  })
})

test.each([
  ['bytes', 10, (user: string) => upload(user, rocket)],
  ['objects', 12, (user: string) => presign(user, { filename: 'a.jpg', fileType: 'image/jpeg', size: 1 })],
])('fifty at once never pass the quota of %s by one', async (_, fit, begin) => {
  const user = newUser()
  const answers = await Promise.all(Array.from({ length: 50 }, () => begin(user)))
  const codes = answers.map(({ status }) => status)
  expect(codes.filter((status) => status < 300)).toHaveLength(fit)
  expect(codes.filter((status) => status === 429)).toHaveLength(50 - fit)
  expect(await usage(user)).toMatchObject({ objects: fit })
})

test('the size has to be declared, and is what a link reserves until it is complete', async () => {
  const user = newUser()
  await expectInvalid(await presign(user, { filename: 'a.jpg', fileType: 'image/jpeg' }), 'size')
  const { id } = await stored(user)
  expect((await get(user, id)).status).toBe(200)
  expect(await usage(user)).toMatchObject({ bytes: rocket.length, objects: 1 })
})

test('a tus upload whose length is declared late is refused there', async () => {
  const user = newUser()
  await presigned(user, { size: QUOTA_BYTES - 1 })
  const begun = await beginTus(user)
  expect(begun.status).toBe(201)
  const { pathname } = new URL(begun.headers.get('location') ?? '')
  const { method, headers } = patchAt(0)
  const body = new Uint8Array(1000)
  const patched = await call(pathname, { as: user, method, headers: { ...headers, 'upload-length': '1000' }, body })
  await expectProblem(patched, 429, 'quota_exceeded')
  expect(await usage(user)).toMatchObject({ bytes: QUOTA_BYTES - 1, objects: 2 })
})
