import { afterAll, expect, test } from 'bun:test'
import { answered, expectInvalid, expectProblem, type MediaObject, newUser, tokenFor } from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'

const stage = await openStage({})
afterAll(stage.close)
const { call } = stage
const rocket = await readCorpus('accept/rocket.jpg')
const service = { authorization: `Bearer ${await tokenFor(newUser(), { role: 'service' })}` }

const upload = (user: string, fields: Record<string, string>) => {
  const body = new FormData()
  body.set('file', new File([rocket], 'rocket.jpg'))
  for (const [name, value] of Object.entries(fields)) body.set(name, value)
  return call('/media/upload', { as: user, method: 'POST', body })
}

test('a held object says until when to its owner and a service, and to nobody else; a claim ends it', async () => {
  const user = newUser()
  const { id, expiresAt = '' } = await answered<MediaObject>(
    201,
    await upload(user, { holdSeconds: '3600', visibility: 'public' }),
  )
  expect(Math.abs(Date.parse(expiresAt) - Date.now() - 3_600_000)).toBeLessThan(60_000)
  expect(await answered(200, await call(`/media/${id}`, { as: user }))).toMatchObject({ expiresAt })
  expect(await answered(200, await call(`/media/${id}`, { headers: service }))).toMatchObject({ expiresAt })
  for (const as of [undefined, newUser()])
    expect(await answered<object>(200, await call(`/media/${id}`, { ...(as && { as }) }))).not.toHaveProperty(
      'expiresAt',
    )
  const claim = (json: object, headers = service) => call('/media/claim', { method: 'POST', json, headers })
  await expectInvalid(await claim({ ids: [id] }), 'userId')
  await expectProblem(await claim({ ids: [id], userId: newUser() }), 404, 'not_found')
  const { items } = await answered<{ items: MediaObject[] }>(
    200,
    await claim({ ids: [id.toUpperCase()], userId: user }),
  )
  expect(items).toMatchObject([{ id }])
  expect(items[0]).not.toHaveProperty('expiresAt')
})

test('an owner claims what is theirs, and names nobody else', async () => {
  const user = newUser()
  const { id } = await answered<MediaObject>(201, await upload(user, { holdSeconds: '60' }))
  const claim = (json: object) => call('/media/claim', { as: user, method: 'POST', json })
  await expectInvalid(await claim({ ids: [id], userId: newUser() }), 'userId')
  await expectInvalid(await claim({ ids: [id, id.toUpperCase()] }), 'ids')
  await answered(200, await claim({ ids: [id], userId: user }))
  expect((await call(`/media/${id}`, { as: user, method: 'DELETE' })).status).toBe(204)
  expect((await expectProblem(await claim({ ids: [id] }), 409, 'state_conflict')).ids).toEqual([id])
})

test('a hold is from a minute to thirty days', async () => {
  const user = newUser()
  for (const holdSeconds of ['59', '2592001', '60.5', 'soon', ''])
    await expectInvalid(await upload(user, { holdSeconds }), 'holdSeconds')
  const declared = { filename: 'a.jpg', fileType: 'image/jpeg', size: 9 }
  for (const path of ['presign', 'multipart'])
    await expectInvalid(
      await call(`/media/${path}`, { as: user, method: 'POST', json: { ...declared, holdSeconds: 59 } }),
      'holdSeconds',
    )
})
