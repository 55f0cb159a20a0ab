import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  answered,
  createClient,
  expectProblem,
  JWT_SECRET,
  type MediaObject,
  newUser,
  until,
} from '../support/http/client.ts'
import { lookInside } from '../support/http/inside.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, expectNoFailures, runtime, settingsFor } from '../support/process/acceptance.ts'
import { startService } from '../support/process/service.ts'
import { type Services, startServices } from '../support/services/services.ts'

// Only parts that are processes of their own can be killed.
if (backend === 'real') {
  const services: Services = await startServices({})
  const control = services.control!
  const env = { ...settingsFor(services, services.databaseUrl, 'media'), AUTH_JWT_SECRET: JWT_SECRET }
  const service = await startService({ runtime, env })
  const client = createClient(service.baseUrl)
  const { call, complete, get, page, presigned, put, upload, uploaded } = client
  afterAll(async () => {
    await service.stop()
    await services.stop()
    expectNoFailures(service)
  }, 60_000)

  const rocket = await readCorpus('accept/rocket.jpg')
  const readiness = async () => {
    const response = await call('/health/ready')
    return [response.status, await response.json()]
  }

  describe('while the store is down', () => {
    const user = newUser()
    let before: MediaObject

    beforeAll(async () => {
      before = await uploaded(user)
      await control.minio.kill()
    })
    afterAll(() => control.minio.start())

    test('an upload is 503 and the object never becomes visible', async () => {
      for (let i = 0; i < 3; i += 1) await expectProblem(await upload(user, rocket), 503, 'storage_unavailable')
      expect((await page(user)).items.map(({ id }) => id)).toEqual([before.id])
      const inside = await lookInside(services, env)
      for (const row of await inside.rowsOf(user)) expect(row.status).toBe(row.id === before.id ? 'active' : 'purging')
      await inside.close()
    }, 60_000)

    test('calls that need no bytes still work', async () => {
      expect((await get(user, before.id)).status).toBe(200)
      expect(
        await answered<MediaObject>(200, await client.patch(user, before.id, { originalName: 'b.jpg' })),
      ).toBeTruthy()
    })

    test('complete is 503 and can be tried again', async () => {
      const link = await presigned(user)
      await expectProblem(await complete(user, link.id), 503, 'storage_unavailable')
      await control.minio.start()
      await until(async () => expect((await put(link, rocket)).status).toBe(200))
      await until(async () => expect((await complete(user, link.id)).status).toBe(200))
    }, 60_000)

    test('readiness says so, and takes it back when the store is there again', async () => {
      await control.minio.kill()
      await until(async () => expect(await readiness()).toMatchObject([503, { status: 'not_ready', storage: 'down' }]))
      expect((await call('/health/live')).status).toBe(200)
      await control.minio.start()
      await until(async () => expect(await readiness()).toMatchObject([200, { status: 'ready', storage: 'ok' }]))
      expect((await upload(user, rocket)).status).toBe(201)
    }, 60_000)
  })

  describe('while the database is down', () => {
    const user = newUser()
    let before: MediaObject

    beforeAll(async () => {
      before = await uploaded(user)
      await control.postgres.kill()
    })
    afterAll(() => control.postgres.start())

    test('every call is 503', async () => {
      await expectProblem(await upload(user, rocket), 503, 'database_unavailable')
      await expectProblem(await upload(user, rocket), 503, 'database_unavailable')
      await expectProblem(await get(user, before.id), 503, 'database_unavailable')
      await expectProblem(await call('/media', { as: user }), 503, 'database_unavailable')
      await expectProblem(await client.remove(user, before.id), 503, 'database_unavailable')
      await expectProblem(await complete(user, before.id), 503, 'database_unavailable')
      const declared = { filename: 'a.jpg', fileType: 'image/jpeg' }
      await expectProblem(await client.presign(user, declared), 503, 'database_unavailable')
    }, 60_000)

    test('readiness says so, and all is as before when the database is there again', async () => {
      expect(await readiness()).toMatchObject([503, { status: 'not_ready', database: 'down' }])
      await control.postgres.start()
      await until(async () => expect(await readiness()).toMatchObject([200, { database: 'ok' }]))
      expect((await page(user)).items.map(({ id }) => id)).toEqual([before.id])
      const after = await uploaded(user)
      expect((await page(user)).items.map(({ id }) => id)).toEqual([after.id, before.id])
    }, 60_000)
  })

  describe('while Redis is down', () => {
    const user = newUser()

    test('uploads work, readiness is 200 with degraded events, and the events arrive later', async () => {
      await control.redis.kill()
      const objects = [await uploaded(user), await uploaded(user)]
      expect((await client.remove(user, objects[0]!.id)).status).toBe(204)
      await until(async () => expect(await readiness()).toMatchObject([200, { status: 'ready', events: 'degraded' }]))

      await control.redis.start()
      const inside = await lookInside(services, env)
      const streamed = async (id: string) => (await inside.streamed(id)).map(({ channel }) => channel)
      await until(async () => {
        expect(await streamed(objects[0]!.id)).toEqual(['photo:uploaded', 'photo:deleted'])
        expect(await streamed(objects[1]!.id)).toEqual(['photo:uploaded'])
      }, 15_000)
      await until(async () => {
        for (const row of await inside.rowsOf(user)) expect(row).toMatchObject({ outbox: [], outbox_due_at: null })
      })
      expect(await readiness()).toMatchObject([200, { events: 'ok' }])
      await inside.close()
    }, 60_000)
  })
}
