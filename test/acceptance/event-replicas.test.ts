import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { Redis } from 'ioredis'
import { createClient, expectProblem, JWT_SECRET, newUser, tokenFor, until } from '../support/http/client.ts'
import { type EventSource, eventsOf, listen } from '../support/http/event-source.ts'
import { backend, expectNoFailures, runtime, settingsFor } from '../support/process/acceptance.ts'
import { startService } from '../support/process/service.ts'
import { type Services, startServices } from '../support/services/services.ts'

// The embedded default is one process, and has no Redis to lose.
if (backend === 'real') {
  setDefaultTimeout(60_000)
  const services: Services = await startServices({})
  const { redis } = services.control!
  const env = { ...settingsFor(services, services.databaseUrl, 'media'), AUTH_JWT_SECRET: JWT_SECRET }
  const first = await startService({ runtime, env })
  const second = await startService({ runtime, env })
  const open: EventSource[] = []
  afterAll(async () => {
    for (const source of open) source.close()
    await Promise.all([first.stop(), second.stop()])
    await services.stop()
    for (const service of [first, second]) expectNoFailures(service)
  }, 60_000)

  const listening = async ({ baseUrl }: { baseUrl: string }, user: string, headers: Record<string, string> = {}) => {
    const source = await listen(baseUrl, { authorization: `Bearer ${await tokenFor(user)}`, ...headers })
    open.push(source)
    expect(source.status).toBe(200)
    await until(() => expect(source.blocks).not.toEqual([]))
    return source
  }
  const [atFirst, atSecond] = [createClient(first.baseUrl), createClient(second.baseUrl)]
  const idsOf = (source: EventSource) => source.events().map(({ data }) => data?.id)

  test('an event of one replica is heard at the other, and one goes on where the other stopped', async () => {
    const user = newUser()
    const source = await listening(first, user)
    const objects = [await atSecond.uploaded(user), await atFirst.uploaded(user)]
    const events = await eventsOf(source, 2)
    expect(events.map(({ data }) => data?.id)).toEqual(objects.map(({ id }) => id))
    source.close()
    const missed = [await atFirst.uploaded(user), await atSecond.uploaded(user)]
    const resumed = await listening(second, user, { 'last-event-id': events[0]?.id ?? '' })
    await eventsOf(resumed, 3)
    expect(idsOf(resumed)).toEqual([objects[1]?.id, ...missed.map(({ id }) => id)])
  })

  test.each(['kill', 'pause'] as const)('nothing is lost, or comes twice, while Redis is down (%s)', async (how) => {
    const user = newUser()
    const sources = [await listening(first, user), await listening(second, user)]
    const objects = [await atFirst.uploaded(user)]
    for (const source of sources) await eventsOf(source, 1)
    await redis[how]()
    for (let i = 0; i < 3; i += 1) objects.push(await atSecond.uploaded(user))
    await expectProblem(await atFirst.call('/media/events', { as: user }), 503, 'overloaded')
    const headers = { 'last-event-id': sources[0]?.events()[0]?.id ?? '' }
    await expectProblem(await atFirst.call('/media/events', { as: user, headers }), 503, 'overloaded')
    // The longest that a connection without an answer is believed in.
    await Bun.sleep(8000)
    expect(sources.map(({ ended }) => ended())).toEqual([false, false])
    await redis[how === 'kill' ? 'start' : 'resume']()
    objects.push(await until(() => atFirst.uploaded(user)))
    const expected = objects.map(({ id }) => id)
    for (const source of sources) {
      await eventsOf(source, expected.length, 20_000)
      // Of different objects, those that were owed come in any order.
      expect(idsOf(source).sort()).toEqual(expected.sort())
      const ids = source.blocks.flatMap(({ event, id }) => (event ? [id] : []))
      expect(ids).toHaveLength(new Set(ids).size)
    }
    const resumed = await listening(second, user, headers)
    await eventsOf(resumed, expected.length - 1)
  })

  test('a subscriber is told when Redis has lost its stream', async () => {
    const user = newUser()
    const source = await listening(first, user)
    await atFirst.uploaded(user)
    await eventsOf(source, 1)
    const client = new Redis(services.redisUrl)
    await client.flushall()
    client.disconnect()
    await redis.kill()
    await redis.start()
    const [, reset] = await eventsOf(source, 2, 20_000)
    expect(reset).toMatchObject({ event: 'reset' })
    const object = await atSecond.uploaded(user)
    expect((await eventsOf(source, 3))[2]?.data?.id).toBe(object.id)
  })
}
