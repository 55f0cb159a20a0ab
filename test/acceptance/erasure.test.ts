import { afterAll, expect, test } from 'bun:test'
import { answered, expectInvalid, expectProblem, newUser, tokenFor, until } from '../support/http/client.ts'
import { openStage } from '../support/process/acceptance.ts'
import { runUpkeep } from '../support/process/service.ts'

const { call, env, get, inside, page, presigned, remove, uploaded, close } = await openStage()
afterAll(close)

type Erasure = { left: number; purging: number }

async function erase(userId: string, role = 'service'): Promise<Response> {
  const authorization = `Bearer ${await tokenFor(newUser(), { role })}`
  return call(`/media?userId=${userId}`, { method: 'DELETE', headers: { authorization } })
}

test('everything of one owner goes, in whatever state, is announced, and its bytes with it; nothing of another', async () => {
  const [user, other] = [newUser(), newUser()]
  const [active, deleted] = [await uploaded(user), await uploaded(user)]
  expect((await remove(user, deleted.id)).status).toBe(204)
  const pending = await presigned(user)
  const kept = await uploaded(other)

  expect(await answered<Erasure>(202, await erase(user))).toEqual({ left: 0, purging: 3 })
  await expectProblem(await get(user, active.id), 404, 'not_found')
  expect((await page(user)).items).toEqual([])
  expect((await page(user, '?status=deleted')).items).toEqual([])
  expect((await get(other, kept.id)).status).toBe(200)

  if (inside === undefined) return
  const channels = (id: string) => inside.heard(id).map(({ channel }) => channel)
  await until(() => expect(channels(active.id)).toEqual(['photo:uploaded', 'photo:purged']))
  expect(channels(deleted.id)).toEqual(['photo:uploaded', 'photo:deleted', 'photo:purged'])
  expect(channels(pending.id)).toEqual([])
  await runUpkeep(env)
  for (const { key } of [active, deleted]) expect(await inside.storedUnder(key)).toBeNull()
  expect(await inside.storedUnder(kept.key)).not.toBeNull()
})

test('more than one batch goes with one call, and a second call finds nothing left', async () => {
  const user = newUser()
  await Promise.all(Array.from({ length: 120 }, () => presigned(user)))
  expect(await answered<Erasure>(202, await erase(user))).toEqual({ left: 0, purging: 120 })
  expect(await answered<Erasure>(202, await erase(user))).toMatchObject({ left: 0 })
})

test('it takes the role service, and a user to erase', async () => {
  const { id, userId } = await uploaded(newUser())
  await expectProblem(await erase(userId, 'user'), 403, 'forbidden')
  await expectProblem(await call(`/media?userId=${userId}`, { as: userId, method: 'DELETE' }), 403, 'forbidden')
  await expectProblem(await call(`/media?userId=${userId}`, { method: 'DELETE' }), 401, 'token_missing')
  expect((await get(userId, id)).status).toBe(200)
  const authorization = `Bearer ${await tokenFor(newUser(), { role: 'service' })}`
  for (const query of ['', '?userId=all'])
    await expectInvalid(await call(`/media${query}`, { method: 'DELETE', headers: { authorization } }), 'userId')
})
