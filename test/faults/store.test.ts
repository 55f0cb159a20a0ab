import { describe, expect } from 'bun:test'
import { answered, expectProblem, newUser, type Presigned, until } from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { type FaultStage, faultTest, readiness, timed } from '../support/process/faults.ts'
import { haveServices } from '../support/services/shared.ts'

// A put has one second more for the first MiB; what follows is the attempt to remove what may have arrived.
const DEADLINE_SECONDS = 11
const REMOVAL_SECONDS = 2
const SLACK_SECONDS = 2

describe.skipIf(!(await haveServices()))('a store', () => {
  faultTest(
    'that refuses connections is answered with 503 at once, and used again as soon as it is back',
    async (stage) => {
      const user = newUser()
      await stage.store.refuse()
      const { result, seconds } = await timed(stage.upload(user, 'accept/rocket.jpg'))
      await expectProblem(result, 503, 'storage_unavailable')
      expect(seconds).toBeLessThan(5)
      expect((await readiness(stage)).body).toMatchObject({ status: 'not_ready', storage: 'down', database: 'ok' })
      expect((await stage.page(user)).items).toEqual([])
      await stage.store.pass()
      await stage.uploaded(user)
    },
  )

  faultTest('that hangs costs its deadline only requests that need it, and is used again afterwards', async (stage) => {
    const user = newUser()
    const { id } = await stage.uploaded(user)
    const link = await presignedAndPut(stage, user)
    await stage.store.blackhole()
    const ready = readiness(stage)
    const needing = [stage.upload(user, 'accept/rocket.jpg'), stage.complete(user, link.id)].map(timed)
    // Links are signed without the store, and everything else is in the database.
    const { seconds } = await timed(
      (async () => {
        expect((await stage.get(user, id)).status).toBe(200)
        expect((await stage.remove(user, id)).status).toBe(204)
        expect((await stage.restore(user, id)).status).toBe(200)
      })(),
    )
    expect(seconds).toBeLessThan(3)
    expect((await ready).body).toMatchObject({ status: 'not_ready', storage: 'down', database: 'ok' })
    for (const { result, seconds } of await Promise.all(needing)) {
      await expectProblem(result, 503, 'storage_unavailable')
      expect(seconds).toBeLessThan(DEADLINE_SECONDS + REMOVAL_SECONDS + SLACK_SECONDS)
    }
    await stage.store.pass()
    await until(async () => expect((await readiness(stage)).status).toBe(200), 15_000)
    await answered(200, await stage.complete(user, link.id))
    await until(() => stage.uploaded(user), 40_000)
  })

  faultTest('that is slow only makes uploads slow', async (stage) => {
    stage.store.delay(500)
    const user = newUser()
    const { id } = await stage.uploaded(user)
    expect((await stage.get(user, id)).status).toBe(200)
    expect((await readiness(stage)).body.status).toBe('ready')
  })

  // Without `discard` in src/media/media.ts, the row would stay pending; without upkeep's second removal, a PUT
  // that ends after the first would stay for ever.
  faultTest('whose answer to a PUT is lost leaves a row that upkeep ends, bytes and all', async (stage) => {
    const { inside } = stage
    const user = newUser()
    stage.store.swallowAnswers()
    const uploading = stage.upload(user, 'accept/rocket.jpg')
    const key = await until(async () => {
      const [key] = (await inside.keys('media/')) ?? []
      expect(key).toBeTruthy()
      return String(key)
    })
    await expectProblem(await uploading, 503, 'storage_unavailable')
    expect((await stage.page(user)).items).toEqual([])
    const [row] = await inside.rowsOf(user)
    expect(row).toMatchObject({ status: 'purging', storage_key: key })

    await stage.runUpkeep()
    expect(await inside.keys('media/')).toEqual([])
    expect(await inside.rowsOf(user)).toMatchObject([{ status: 'purging' }])
  })
})

async function presignedAndPut(stage: FaultStage, user: string): Promise<Presigned> {
  const link = await stage.presigned(user)
  expect((await stage.put(link, await readCorpus('accept/rocket.jpg'))).status).toBe(200)
  return link
}
