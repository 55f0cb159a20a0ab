/** A database that has committed what several requests asked for together, and dies before it can say so. */
import { afterAll, afterEach, describe, expect, test } from 'bun:test'
import {
  answered,
  type Client,
  createClient,
  expectBytes,
  expectProblem,
  JWT_SECRET,
  newUser,
  until,
} from '../support/http/client.ts'
import { type Inside, lookInside, type Row } from '../support/http/inside.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { expectNoFailures, settingsFor } from '../support/process/acceptance.ts'
import { startProxy, type TcpProxy } from '../support/process/proxy.ts'
import { acceptanceRun, startService } from '../support/process/service.ts'
import { type Services, startServices } from '../support/services/services.ts'
import { haveServices } from '../support/services/shared.ts'

const COUNT = 16
const RECOVERY_MS = 30_000
const rocket = await readCorpus('accept/rocket.jpg')

if (await haveServices()) {
  const own: Services = await startServices({})
  const { postgres } = own.control!
  const database: TcpProxy = await startProxy(own.databaseUrl)
  const direct = { ...settingsFor(own, own.databaseUrl, 'media'), AUTH_JWT_SECRET: JWT_SECRET }
  const service = await startService({
    runtime: acceptanceRun().runtime,
    env: { ...direct, DATABASE_URL: database.url },
  })
  const client = createClient(service.baseUrl)
  let inside: Inside = await lookInside(own, direct)
  afterEach(async () => {
    await database.pass()
    database.cut()
  })
  afterAll(async () => {
    await inside.close()
    await service.stop()
    await database.close()
    await own.stop()
    expectNoFailures(service)
  }, 60_000)

  const ends: Record<string, { strike(): Promise<void>; mend(): Promise<void> }> = {
    'whose connections break': {
      strike: async () => database.cut(),
      mend: () => database.pass(),
    },
    'that is killed': {
      strike: () => postgres.kill(),
      async mend() {
        await inside.close()
        await postgres.start()
        inside = await lookInside(own, direct)
        await database.pass()
      },
    },
  }

  describe.each(Object.keys(ends))('a database %s between a commit and its answer', (name) => {
    const { strike, mend } = ends[name]!

    /** Has calls made whose answers the database cannot give any more, once some of them went together. */
    async function loseAnswers(user: string, calls: (() => Promise<Response>)[], status: Row['status']) {
      const answers = Promise.all(calls.map((call) => call()))
      await until(async () => expect(largest(await inside.rowsOf(user), status)).toBeGreaterThan(1))
      await strike()
      for (const response of await answers) await expectProblem(response, 503, 'database_unavailable')
      await mend()
      await until(async () => expect((await client.call('/health/ready')).status).toBe(200), RECOVERY_MS)
    }

    test('each delete is 503; all that were done are announced, and nothing is done twice', async () => {
      const user = newUser()
      const ids = await many(async () => (await client.uploaded(user)).id)
      // As a parameter; words of a statement would be sent, and their answer needed, before it runs for the first time.
      database.swallowAnswersTo(user)
      await loseAnswers(
        user,
        ids.map((id) => () => client.remove(user, id)),
        'deleted',
      )
      for (const id of ids) {
        const { status } = (await inside.rowOf(id))!
        expect((await client.remove(user, id)).status).toBe(status === 'deleted' ? 404 : 204)
      }
      await announced(ids, ['photo:uploaded', 'photo:deleted'])
      for (const id of ids) await answered(200, await client.restore(user, id))
      await expectServed(client, user, ids)
    }, 90_000)

    test('each complete is 503; again, it answers with the object, which was announced once', async () => {
      const user = newUser()
      const links = await many(() => client.presigned(user, { size: rocket.length }))
      await Promise.all(links.map((link) => client.put(link, rocket)))
      const ids = links.map(({ id }) => id)
      database.swallowAnswersTo('photo:uploaded')
      await loseAnswers(
        user,
        ids.map((id) => () => client.complete(user, id)),
        'active',
      )
      for (const id of ids) await answered(200, await client.complete(user, id))
      await announced(ids, ['photo:uploaded'])
      await expectServed(client, user, ids)
    }, 90_000)

    test('each upload is 503 and nothing is visible; again, it is stored', async () => {
      const user = newUser()
      const upload = () => client.upload(user, rocket, { name: 'lost.jpg' })
      database.swallowAnswersTo('lost.jpg')
      await loseAnswers(
        user,
        Array.from({ length: COUNT }, () => upload),
        'pending',
      )
      expect((await client.page(user)).items).toEqual([])
      for (const { status } of await inside.rowsOf(user)) expect(['pending', 'purging']).toContain(status)
      const { id } = await answered<{ id: string }>(201, await upload())
      await announced([id], ['photo:uploaded'])
      await expectServed(client, user, [id])
    }, 90_000)
  })

  /** Once the relay has been by: these events, each at least once. */
  async function announced(ids: string[], channels: string[]): Promise<void> {
    await until(async () => {
      for (const id of ids) expect((await inside.streamed(id)).map(({ channel }) => channel)).toEqual(channels)
    }, RECOVERY_MS)
  }
}

/** How many of the rows came to this status by the same statement: they have one time, its `now()`. */
function largest(rows: Row[], status: Row['status']): number {
  const there = rows.filter((row) => row.status === status)
  const times = Map.groupBy(there, (row) => row.status_changed_at.getTime())
  return Math.max(0, ...[...times.values()].map((some) => some.length))
}

function many<T>(make: () => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: COUNT }, make))
}

/** All of them are in the list, with the bytes that were sent. */
async function expectServed(client: Client, user: string, ids: string[]): Promise<void> {
  const { items } = await client.page(user)
  expect(items.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
  for (const { signedUrl } of items) await expectBytes(await fetch(signedUrl), rocket)
}
