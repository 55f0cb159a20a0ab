import { describe, expect } from 'bun:test'
import { answered, expectProblem, newUser, until } from '../support/http/client.ts'
import { type FaultStage, faultTest, readiness, timed } from '../support/process/faults.ts'
import { haveServices } from '../support/services/shared.ts'

const DEADLINE_SECONDS = 5
// Beside what else the machine has to do.
const SLACK_SECONDS = 2

describe.skipIf(!(await haveServices()))('a database', () => {
  faultTest(
    'that refuses connections is answered with 503 at once, and used again as soon as it is back',
    async (stage) => {
      const { user, id } = await withObject(stage)
      await stage.database.refuse()
      expect(await expectUnavailable(stage, user, id)).toBeLessThan(DEADLINE_SECONDS + SLACK_SECONDS)
      expect(await readiness(stage)).toEqual({
        status: 503,
        body: { status: 'not_ready', database: 'down', storage: 'ok', events: 'ok' },
      })
      expect((await stage.call('/health/live')).status).toBe(200)
      await stage.database.pass()
      await expectRecovery(stage, user)
    },
  )

  // Without `renewable` in src/db/pool.ts, the twenty connections wait for ever and every later query with them.
  faultTest(
    'whose connections hang costs each request its deadline; the dead ones are then replaced',
    async (stage) => {
      const { user, id } = await withObject(stage)
      await Promise.all(Array.from({ length: 30 }, () => stage.page(user)))
      await stage.database.blackhole()
      const ready = readiness(stage)
      const stuck = Promise.all(Array.from({ length: 30 }, () => stage.get(user, id)))
      expect(await expectUnavailable(stage, user, id)).toBeLessThan(DEADLINE_SECONDS + SLACK_SECONDS)
      for (const response of await stuck) await expectProblem(response, 503, 'database_unavailable')
      expect((await ready).body).toMatchObject({ status: 'not_ready', database: 'down', storage: 'ok' })
      await stage.database.pass()
      await expectRecovery(stage, user)
    },
  )

  // Without `cancel` in src/db/connect.ts, the refused attempts to cancel end the process.
  faultTest(
    'that moves away, old connections hanging and new ones refused, does not end the process',
    async (stage) => {
      const { user, id } = await withObject(stage)
      await Promise.all(Array.from({ length: 30 }, () => stage.page(user)))
      await stage.database.moveAway()
      expect(await expectUnavailable(stage, user, id)).toBeLessThan(DEADLINE_SECONDS + SLACK_SECONDS)
      await stage.database.pass()
      await expectRecovery(stage, user)
      expect(await answered(200, await stage.get(user, id))).toMatchObject({ id })
    },
  )

  faultTest('that is slow only makes requests slow', async (stage) => {
    stage.database.delay(300)
    const user = newUser()
    const { id } = await stage.uploaded(user)
    expect((await stage.page(user)).items.map((item) => item.id)).toEqual([id])
    expect((await readiness(stage)).body.status).toBe('ready')
  })

  faultTest('that drops its connections in the middle fails some requests with 503, and none later', async (stage) => {
    const user = newUser()
    const uploads = Array.from({ length: 20 }, () => stage.upload(user, 'accept/rocket.jpg'))
    const cuts = (async () => {
      for (let cut = 0; cut < 10; cut++) {
        stage.database.cut()
        await Bun.sleep(20)
      }
    })()
    const responses = await Promise.all(uploads)
    await cuts
    for (const response of responses)
      if (response.status !== 201) await expectProblem(response, 503, 'database_unavailable')
    await expectRecovery(stage, user)
  })
})

async function withObject(stage: FaultStage): Promise<{ user: string; id: string }> {
  const user = newUser()
  return { user, id: (await stage.uploaded(user)).id }
}

/** Every kind of request answers that the database is to blame; returns how long the slowest took, in seconds. */
async function expectUnavailable(stage: FaultStage, user: string, id: string): Promise<number> {
  const answers = await Promise.all(
    [
      stage.upload(user, 'accept/rocket.jpg'),
      stage.presign(user, { filename: 'a.jpg', fileType: 'image/jpeg' }),
      stage.complete(user, id),
      stage.get(user, id),
      stage.call('/media', { as: user }),
      stage.patch(user, id, { originalName: 'b.jpg' }),
      stage.remove(user, id),
      stage.restore(user, id),
    ].map(timed),
  )
  for (const { result } of answers) await expectProblem(result, 503, 'database_unavailable')
  return Math.max(...answers.map(({ seconds }) => seconds))
}

/** More requests at once than the pool has connections all succeed again, within seconds. */
async function expectRecovery(stage: FaultStage, user: string): Promise<void> {
  await until(async () => expect((await readiness(stage)).status).toBe(200), 15_000)
  const pages = await Promise.all(Array.from({ length: 30 }, () => stage.call('/media', { as: user })))
  expect(pages.filter(({ status }) => status !== 200)).toEqual([])
  await stage.uploaded(user)
}
