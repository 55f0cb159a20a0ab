import { describe, expect } from 'bun:test'
import { newUser, until } from '../support/http/client.ts'
import { type FaultStage, faultTest, readiness, timed } from '../support/process/faults.ts'
import { haveServices } from '../support/services/shared.ts'

describe.skipIf(!(await haveServices()))('Redis', () => {
  for (const fault of ['refuse', 'blackhole', 'moveAway'] as const) {
    // Without `outbox` on the row nothing of what happened meanwhile would ever be announced.
    faultTest(`going away (${fault}) fails no request and delays none; the events follow`, async (stage) => {
      const user = newUser()
      await stage.uploaded(user)
      await stage.redis[fault]()
      const { result: id, seconds } = await timed(liveALife(stage, user))
      // Ten calls, of which none waits for Redis and its deadline of one second.
      expect(seconds).toBeLessThan(5)
      expect(await readiness(stage)).toEqual({
        status: 200,
        body: { status: 'ready', database: 'ok', storage: 'ok', events: 'degraded' },
      })
      expect(await stage.inside.streamed(id)).toEqual([])
      await stage.redis.pass()
      await expectAnnounced(stage, id)
      await until(async () => expect((await readiness(stage)).body.events).toBe('ok'))
    })
  }

  faultTest('being slow delays no request, and events keep their order', async (stage) => {
    stage.redis.delay(400)
    const { result: id, seconds } = await timed(liveALife(stage, newUser()))
    expect(seconds).toBeLessThan(4)
    await expectAnnounced(stage, id)
  })
})

const CHANNELS = [
  'photo:uploaded',
  ...Array.from({ length: 7 }, () => 'photo:updated'),
  'photo:deleted',
  'photo:restored',
]

async function liveALife(stage: FaultStage, user: string): Promise<string> {
  const { id } = await stage.uploaded(user)
  for (let name = 1; name <= 7; name++)
    expect((await stage.patch(user, id, { originalName: `${name}.jpg` })).status).toBe(200)
  expect((await stage.remove(user, id)).status).toBe(204)
  expect((await stage.restore(user, id)).status).toBe(200)
  return id
}

/** Every event is in the stream, and was heard, in order; some may be there again. */
async function expectAnnounced(stage: FaultStage, id: string): Promise<void> {
  await until(async () => {
    for (const events of [await stage.inside.streamed(id), stage.inside.heard(id)]) {
      const seen = new Set<unknown>()
      const first = events.filter(({ payload }) => !seen.has(payload.eventId) && seen.add(payload.eventId))
      expect(first.map(({ channel }) => channel)).toEqual(CHANNELS)
      expect(first.map(({ payload }) => payload.seq)).toEqual(CHANNELS.map((_, at) => at + 1))
    }
  }, 20_000)
}
