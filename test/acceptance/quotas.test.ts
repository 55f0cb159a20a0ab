import { afterAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { answered, expectInvalid, expectProblem, type MediaObject, newUser, until } from '../support/http/client.ts'
import type { Parts } from '../support/http/parts.ts'
import { described, patchAt, TUS } from '../support/http/tus-client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'
import { runUpkeep } from '../support/process/service.ts'

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

describe('an owner whose quota is used up', () => {
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

describe('more than was declared', () => {
  test('is not stored by a tus upload that says its length later: that is refused, and not offered', async () => {
    const user = newUser()
    const problem = await expectProblem(await beginTus(user), 400, 'request_invalid')
    expect(problem.detail).toMatch(/defer/i)
    const offered = (await call('/media/tus', { method: 'OPTIONS' })).headers.get('tus-extension')?.split(',')
    expect(offered).toEqual(['creation', 'creation-with-upload', 'termination', 'expiration'])
    expect(await usage(user)).toMatchObject({ bytes: 0, objects: 0 })
    expect(await inside?.rowsOf(user)).toEqual(inside && [])
  })

  test('is not stored by a tus upload that was begun without a length before there were quotas', async () => {
    if (inside === undefined) return
    const user = newUser()
    const begun = await beginTus(user, 5)
    const { pathname } = new URL(begun.headers.get('location') ?? '')
    const sql = postgres(env.DATABASE_URL ?? '', { max: 1 })
    await sql`UPDATE media_objects SET size_bytes = NULL WHERE user_id = ${user}`
    await sql.end()
    for (const headers of [{}, { 'upload-length': String(QUOTA_BYTES * 2) }]) {
      const sent = { ...patchAt(0), headers: { ...patchAt(0).headers, ...headers }, body: new Uint8Array(1000) }
      await expectProblem(await call(pathname, { as: user, ...sent }), 400, 'request_invalid')
    }
    expect((await call(pathname, { as: user, method: 'HEAD', headers: TUS })).headers.get('upload-offset')).toBe('0')
  })

  test('is not stored by a tus upload that goes on beyond its length, announced or not', async () => {
    const user = newUser()
    const begun = await beginTus(user, 5)
    const { pathname } = new URL(begun.headers.get('location') ?? '')
    const body = new Uint8Array(3 * QUOTA_BYTES)
    await expectProblem(await call(pathname, { as: user, ...patchAt(0), body }), 413, 'file_too_large')
    // In pieces of no announced length, as fetch sends a stream.
    const stream = new Blob([body]).stream()
    const chunked = await call(pathname, { as: user, ...patchAt(0), body: stream })
    await expectProblem(chunked, 413, 'file_too_large')
    const { bytes } = await usage(user)
    expect(bytes).toBe(5)
    for (const { size } of await storedOf(user)) expect(size).toBeLessThanOrEqual(5)
  })

  test('is not stored over a link', async () => {
    const user = newUser()
    const link = await presigned(user, { size: 5 })
    expect([400, 403, 413, 422]).toContain((await put(link, new Uint8Array(3 * QUOTA_BYTES))).status)
    const chunked = await fetch(link.uploadUrl, {
      ...{ method: 'PUT', headers: link.headers },
      body: new Blob([new Uint8Array(3 * QUOTA_BYTES)]).stream(),
    })
    expect(chunked.status).toBeGreaterThanOrEqual(400)
    await expectProblem(await complete(user, link.id), 409, 'upload_incomplete')
    expect(await storedOf(user)).toEqual([])
    expect(await usage(user)).toMatchObject({ bytes: 5, objects: 1 })
  })

  test.skipIf(inside === undefined)(
    'is not stored in parts, however many are asked for and of whatever size',
    async () => {
      const user = newUser()
      const file = { filename: 'a.jpg', fileType: 'image/jpeg', size: 5 }
      const begun = await call('/media/multipart', { as: user, method: 'POST', json: file })
      const { id, key, uploadId } = await answered<{ id: string; key: string; uploadId: string }>(200, begun)
      const sign = (json: object) => call('/media/sign', { as: user, method: 'POST', json })
      const part = { method: 'PUT', key, uploadId }
      const { url } = await answered<{ url: string }>(200, await sign({ ...part, partNumber: 1 }))
      // 80 MiB under a declared 5 bytes, when links to parts were signed without a length.
      for (const size of [80 * 1024 * 1024, 6, 4]) {
        const answer = await fetch(url, { method: 'PUT', body: new Uint8Array(size) })
        expect([400, 403]).toContain(answer.status)
      }
      for (const more of [{ partNumber: 2 }, { partNumber: 10_000 }])
        await expectInvalid(await sign({ ...part, ...more }), 'partNumber')
      // However it is divided, its one part is all of it, and no more.
      const larger = await answered<{ url: string }>(200, await sign({ ...part, partNumber: 1, partSize: 100_000_000 }))
      const asked = await call(`/media/${id}/parts`, { as: user, method: 'POST', json: { partNumbers: [1] } })
      const ours = await answered<{ urls: { url: string }[] }>(200, asked)
      for (const { url } of [larger, ...ours.urls]) {
        const answer = await fetch(url, { method: 'PUT', body: new Uint8Array(100_000) })
        expect([400, 403]).toContain(answer.status)
      }
      expect((await answered<Parts>(200, await call(`/media/${id}/parts`, { as: user }))).parts).toEqual([])
      for (let i = 0; i < 3; i += 1)
        expect((await fetch(url, { method: 'PUT', body: new Uint8Array(5) })).status).toBe(200)
      expect((await answered<Parts>(200, await call(`/media/${id}/parts`, { as: user }))).parts).toMatchObject([
        { size: 5 },
      ])
      expect(await usage(user)).toMatchObject({ bytes: 5, objects: 1 })
    },
  )

  /** What lies under the prefixes of a user's objects, with its size. */
  async function storedOf(user: string): Promise<{ size: number }[]> {
    if (inside === undefined) return []
    const rows = await inside.rowsOf(user)
    const keys = await Promise.all(rows.map(({ id }) => inside.keys(`media/${id}/`)))
    const stored = await Promise.all(keys.flat().map((key) => inside.storedUnder(key)))
    return stored.map((found) => ({ size: found?.bytes.length ?? 0 }))
  }
})
