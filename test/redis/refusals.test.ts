import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { openBuses } from '../../src/boot/redis.ts'
import { parseSentinels } from '../../src/redis/target.ts'
import { until } from '../support/clock/until.ts'
import { newEvent } from '../support/events.ts'
import { freePort } from '../support/process/port.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { findRedis, type RedisServer, startRedisServer } from '../support/services/redis.ts'
import { documentedRights } from '../support/services/redis-rights.ts'
import { withoutServices } from '../support/services/services.ts'

const present = !withoutServices() && findRedis() !== undefined
const PASSWORD = 'only-of-these-tests'

describe.skipIf(!present)('Redis of the settings', () => {
  let folder: Folder
  let server: RedisServer
  beforeAll(async () => {
    folder = await createFolder()
    server = await startRedisServer(folder.path, 'one', { args: ['--requirepass', PASSWORD], login: `:${PASSWORD}@` })
    await server.redis.connect()
  }, 30_000)
  afterAll(async () => {
    await server.stop()
    await folder.remove()
  }, 30_000)

  const open = async (url: string, { limit = 100, sentinels }: { limit?: number; sentinels?: string } = {}) => {
    const { log, lines } = createRecordingLog()
    const closers: (() => void | Promise<void>)[] = []
    const redisSentinels = sentinels === undefined ? undefined : parseSentinels(sentinels)
    const settings = { redisUrl: url, redisSentinels, rateLimitPerMinute: limit }
    const close = async () => {
      for (const closer of closers.splice(0).reverse()) await closer()
    }
    try {
      return { ...(await openBuses(settings, log, closers)), lines, close }
    } catch (error) {
      await close()
      throw error
    }
  }
  const as = (login: string, path = '') => `redis://${login}127.0.0.1:${server.port}${path}`

  test.each([
    ['a wrong password', () => as(':wrong@'), 'REDIS_URL: Redis does not let the service in'],
    ['no password', () => as(''), 'REDIS_URL: Redis does not let the service in'],
    ['an unknown user', () => as(`nobody:${PASSWORD}@`), 'REDIS_URL: Redis does not let the service in'],
    ['a missing database', () => as(`:${PASSWORD}@`, '/99'), 'REDIS_URL: there is no such database'],
  ])('with %s is refused at once, in a sentence that names the setting', async (_, url, sentence) => {
    await expect(open(url())).rejects.toThrow(sentence)
  })

  const { events: rights, limits: scripts } = documentedRights()
  const user = async (name: string, rules: string) => {
    await server.redis.call('ACL', 'SETUSER', name, 'reset', 'on', `>${PASSWORD}`, ...rules.split(' '))
    return as(`${name}:${PASSWORD}@`)
  }

  test('with the least rights does everything', async () => {
    const opened = await open(await user('least', `${rights} ${scripts}`))
    const ending = new AbortController()
    const event = newEvent(1)
    const followed = await opened.events.follow(event.payload.userId, { after: undefined, ending, silenceMs: 60_000 })
    const iterator = followed[Symbol.asyncIterator]()
    await iterator.next()
    await opened.events.publish([event])
    expect((await iterator.next()).value).toMatchObject({ kind: 'event', event })
    await opened.events.check()
    expect(await opened.limiter?.take('somebody')).toMatchObject({ allowed: true, remaining: 99 })
    expect(opened.lines.filter(({ level }) => level >= 40)).toEqual([])
    ending.abort()
    await opened.close()
  })

  test.each(`${rights} ${scripts}`.split(' ').filter((right) => /^\+(?!hello|exec)/.test(right)))(
    'without %s is refused, by name',
    async (right) => {
      const url = await user('less', `${rights} ${scripts}`.replace(new RegExp(` \\${right}\\b`), ''))
      await expect(open(url)).rejects.toThrow(new RegExp(`^REDIS_URL: the user may not .* \\${right}\\b`))
    },
  )

  test('without the channels or keys is refused; scripts are not needed where requests are not limited', async () => {
    for (const lacking of ['~media:*', '&photo:*']) {
      const url = await user('less', `${rights} ${scripts}`.replace(lacking, '').trim())
      await expect(open(url)).rejects.toThrow('REDIS_URL: the user may not do all that is needed')
    }
    const opened = await open(await user('less', rights), { limit: 0 })
    await opened.events.publish([newEvent(1)])
    await opened.close()
  })

  test('that may remove events is refused; that may remove keys with an expiry is not', async () => {
    await server.redis.config('SET', 'maxmemory', '100mb')
    await server.redis.config('SET', 'maxmemory-policy', 'allkeys-lru')
    await expect(open(as(`:${PASSWORD}@`))).rejects.toThrow('REDIS_URL: with maxmemory-policy allkeys-lru')
    await server.redis.config('SET', 'maxmemory-policy', 'volatile-lru')
    await (await open(as(`:${PASSWORD}@`))).close()
    await server.redis.config('SET', 'maxmemory', '0')
  })

  test('that is full fails its check, as publishing does', async () => {
    const { events, close } = await open(as(`:${PASSWORD}@`))
    await events.check()
    await server.redis.config('SET', 'maxmemory', '1')
    await expect(events.check()).rejects.toThrow('OOM')
    await expect(events.publish([newEvent(1)])).rejects.toThrow('OOM')
    await server.redis.config('SET', 'maxmemory', '0')
    await events.check()
    await close()
  })

  test('that is not there yet is waited for; a wrong password is then in the log', async () => {
    const port = await freePort()
    const later = await open(`redis://:wrong@127.0.0.1:${port}`)
    const { lines } = later
    const late = await startRedisServer(folder.path, 'late', {
      args: ['--requirepass', PASSWORD],
      login: `:${PASSWORD}@`,
      port,
    })
    await until(() => lines.some(({ err }) => /WRONGPASS|NOAUTH/.test(err?.message ?? '')))
    await expect(later.events.check()).rejects.toThrow()
    await later.close()
    await late.stop()
  }, 20_000)
})
