import { beforeAll, describe, expect, test } from 'bun:test'
import { expectOneLine, linesOf, rightSetUp } from '../support/doctor.ts'
import { freePort } from '../support/process/port.ts'
import { findRedis, type RedisServer, startRedisServer } from '../support/services/redis.ts'

const setUp = await rightSetUp()

describe.skipIf(!setUp.present || findRedis() === undefined)('Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedisServer(setUp.folder(), 'own', { args: ['--appendonly', 'yes', '--appendfsync', 'no'] })
    await server.redis.connect()
    setUp.ends.push(server.stop)
  })
  const set =
    (...pairs: [name: string, value: string][]) =>
    async () => {
      for (const [name, value] of pairs) {
        const [[, before = ''] = []] = [(await server.redis.config('GET', name)) as string[]]
        undo.unshift(() => server.redis.config('SET', name, before))
        await server.redis.config('SET', name, value)
      }
      return server.url
    }
  const undo: (() => Promise<unknown>)[] = []

  test.each<[what: string, line: string, url: () => string | Promise<string>]>([
    [
      'a wrong password',
      'Redis does not let the service in',
      () => (setUp.settings().REDIS_URL ?? '').replace(/:[^:@]*@/, ':a@'),
    ],
    ['a closed port', 'REDIS_URL: Redis does not answer', async () => `redis://127.0.0.1:${await freePort()}`],
    ['a missing database', 'there is no such database', () => `${setUp.settings().REDIS_URL}/99`],
    ['memory only', 'warning redis: REDIS_URL: Redis keeps the stream of events in memory', set(['appendonly', 'no'])],
    [
      'events that it removes',
      'with maxmemory-policy allkeys-lru Redis removes events',
      set(['maxmemory', '100mb'], ['maxmemory-policy', 'allkeys-lru']),
    ],
    ['no memory left', 'warning redis: REDIS_URL: Redis takes no events: OOM', set(['maxmemory', '1'])],
    [
      'a user with a right too few',
      'the user may not do all that is needed: +publish',
      async () => {
        await server.redis.call('ACL', 'SETUSER', 'less', 'reset', 'on', '>a', '~*', '&*', '+@all', '-publish')
        return server.url.replace('redis://', 'redis://less:a@')
      },
    ],
    [
      'a replica in its place',
      'warning redis: REDIS_URL: names a replica',
      async () => {
        undo.push(() => server.redis.call('REPLICAOF', 'NO', 'ONE'))
        await server.redis.call('REPLICAOF', '127.0.0.1', '1')
        return server.url
      },
    ],
  ])('with %s is named by one line', async (_, line, url) => {
    await expectOneLine(setUp.withoutStore({ REDIS_URL: await url() }), line)
    for (const step of undo.splice(0)) await step()
    expect(await linesOf(setUp.withoutStore({ REDIS_URL: server.url }))).toEqual([])
  })
})
