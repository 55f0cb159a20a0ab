import { afterAll, describe, expect, test } from 'bun:test'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { RedisClient } from 'bun'
import { Hono } from 'hono'
import type { Limiter } from '../../src/limits/limits.ts'
import { createMemoryLimiter } from '../../src/limits/memory.ts'
import { createRedisLimiter } from '../../src/limits/redis.ts'
import { observeRequests } from '../../src/observe/requests.ts'
import { type RequestRecord, STEPS_CHANNEL } from '../../src/telemetry/record.ts'
import { until } from '../support/clock/until.ts'
import { startProxy } from '../support/process/proxy.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { haveServices, services } from '../support/services/shared.ts'

const LIMIT = 3
const limiters: Limiter[] = []
afterAll(() => Promise.all(limiters.map(({ close }) => close())))

const kept = (limiter: Limiter) => {
  limiters.push(limiter)
  return limiter
}
const onRedis = async (url: string, { log = createRecordingLog().log, now = Date.now, limit = LIMIT } = {}) =>
  kept(await createRedisLimiter({ url, limit, log, now }))

const backends: [string, () => Promise<Limiter>][] = [
  ['memory', async () => kept(createMemoryLimiter({ limit: LIMIT }))],
]
if (await haveServices()) backends.push(['Redis', async () => onRedis((await services()).redisUrl)])

describe.each(backends)('a limiter in %s', (_, open) => {
  test('allows each key so many a minute, and says how many are left', async () => {
    const { take } = await open()
    const [key, other] = [crypto.randomUUID(), crypto.randomUUID()]
    for (const remaining of [2, 1, 0]) expect(await take(key)).toMatchObject({ allowed: true, remaining })
    const refused = await take(key)
    expect(refused).toMatchObject({ allowed: false, remaining: 0 })
    expect(refused?.resetSeconds).toBeWithin(1, 61)
    expect(await take(other)).toMatchObject({ allowed: true, remaining: 2 })
  })

  test('counts exactly what comes at the same time', async () => {
    const { take } = await open()
    const key = crypto.randomUUID()
    const answers = await Promise.all(Array.from({ length: 20 }, () => take(key)))
    expect(answers.filter((answer) => answer?.allowed)).toHaveLength(LIMIT)
  })
})

describe.skipIf(!(await haveServices()))('a limiter in Redis', () => {
  test('counts for all replicas together', async () => {
    const { redisUrl } = await services()
    const [one, two] = [await onRedis(redisUrl), await onRedis(redisUrl)]
    const key = crypto.randomUUID()
    for (const { take } of [one, two, one]) expect(await take(key)).toMatchObject({ allowed: true })
    expect(await two.take(key)).toMatchObject({ allowed: false })
  })

  test('lets requests pass while Redis hangs, says so once, and does not ask each time', async () => {
    const proxy = await startProxy((await services()).redisUrl)
    const { log, lines } = createRecordingLog()
    const { take } = await onRedis(proxy.url, { log })
    const before = lines.length
    await proxy.blackhole()
    const start = performance.now()
    for (let i = 0; i < 50; i++) expect(await take('anyone')).toBeNull()
    expect(performance.now() - start).toBeLessThan(2000)
    expect(lines.slice(before).filter(({ level }) => level === 40)).toHaveLength(1)
    await proxy.close()
  })

  test('counts again some seconds after Redis is back; one request finds out, and those beside it pass', async () => {
    const proxy = await startProxy((await services()).redisUrl)
    const { log, lines } = createRecordingLog()
    let time = 0
    const { take } = await onRedis(proxy.url, { log, now: () => time })
    const key = crypto.randomUUID()
    await proxy.moveAway()
    expect(await take(key)).toBeNull()
    time += 5001
    await proxy.blackhole()
    expect(await Promise.all([take(key), take(key)])).toEqual([null, null])
    await proxy.pass()
    // The dead connection is given up, and a new one made.
    await until(async () => {
      time += 5001
      const [asked, beside] = await Promise.all([take(key), take(key)])
      return asked?.allowed === true && beside === null
    })
    expect(await take(key)).toMatchObject({ allowed: true })
    expect(lines.map(({ level }) => level)).toEqual([40, 30])
    await proxy.close()
  })

  test('sends what comes at the same time in one command, and answers each request for itself', async () => {
    const proxy = await startProxy((await services()).redisUrl)
    const { take } = await onRedis(proxy.url)
    const [key, other] = [crypto.randomUUID(), crypto.randomUUID()]
    await take(crypto.randomUUID())
    const before = proxy.received()
    await take(crypto.randomUUID())
    const one = proxy.received() - before
    const answers = await Promise.all([key, other, key, key, other, key].map(take))
    // Six commands would take six times as much.
    expect(proxy.received() - before - one).toBeLessThan(2 * one)
    expect(answers.map((answer) => [answer?.allowed, answer?.remaining])).toEqual([
      [true, 2],
      [true, 2],
      [true, 1],
      [true, 0],
      [true, 1],
      [false, 0],
    ])
    await proxy.close()
  })

  test('lets all of what was sent together pass when Redis hangs, each within its time, and says so once', async () => {
    const proxy = await startProxy((await services()).redisUrl)
    const { log, lines } = createRecordingLog()
    const { take } = await onRedis(proxy.url, { log })
    await proxy.blackhole()
    const start = performance.now()
    expect(await Promise.all(Array.from({ length: 50 }, (_, i) => take(`${i % 5}`)))).toEqual(Array(50).fill(null))
    expect(performance.now() - start).toBeLessThan(2000)
    expect(lines.filter(({ level }) => level === 40)).toHaveLength(1)
    await proxy.close()
  })

  test('shows each request its own wait, and the metrics one step', async () => {
    const { take } = await onRedis((await services()).redisUrl)
    const records: RequestRecord[] = []
    const app = new Hono()
    app.use(observeRequests((record) => records.push(record)))
    app.get('/', async (c) => c.json(await take(crypto.randomUUID())))
    const steps: unknown[] = []
    const hear = (step: unknown) => void steps.push(step)
    subscribe(STEPS_CHANNEL, hear)
    await Promise.all(Array.from({ length: 3 }, () => app.request('/')))
    unsubscribe(STEPS_CHANNEL, hear)
    expect(steps).toMatchObject([{ dependency: 'limits', failed: false }])
    expect(records).toHaveLength(3)
    for (const { spent, steps: own } of records) {
      expect(spent.limits).toBeGreaterThan(0)
      expect(own).toMatchObject([{ dependency: 'limits', failed: false }])
    }
  })

  test('keeps the window of a key, whichever replica began it', async () => {
    const { redisUrl } = await services()
    const redis = new RedisClient(redisUrl)
    const [begun, endless] = [crypto.randomUUID(), crypto.randomUUID()]
    await redis.send('SET', [`media:limit:${begun}`, '1', 'EX', '30'])
    await redis.set(`media:limit:${endless}`, '1')
    const { take } = await onRedis(redisUrl)
    expect((await take(begun))?.resetSeconds).toBeWithin(28, 31)
    expect((await take(endless))?.resetSeconds).toBe(60)
    expect(await take(begun)).toMatchObject({ allowed: true, remaining: 0 })
    redis.close()
  })

  test('does not ask Redis again about a key over its limit', async () => {
    const proxy = await startProxy((await services()).redisUrl)
    const { take } = await onRedis(proxy.url)
    const key = crypto.randomUUID()
    for (let i = 0; i <= LIMIT; i++) await take(key)
    const received = proxy.received()
    for (let i = 0; i < 20; i++) expect(await take(key)).toMatchObject({ allowed: false, remaining: 0 })
    expect(proxy.received()).toBe(received)
    await proxy.close()
  })

  describe('with a limit of 200 a minute', () => {
    const limit = 200

    test('answers at once while less than half is used, and Redis counts each of these requests', async () => {
      const { redisUrl } = await services()
      const proxy = await startProxy(redisUrl)
      const { take } = await onRedis(proxy.url, { limit })
      const key = crypto.randomUUID()
      expect(await take(key)).toMatchObject({ allowed: true, remaining: limit - 1 })
      proxy.delay(100)
      const begun = proxy.answered()
      const answers = await Promise.all(Array.from({ length: 50 }, () => take(key)))
      expect(proxy.answered()).toBe(begun)
      expect(answers.at(-1)).toMatchObject({ allowed: true, remaining: limit - 51 })
      proxy.delay(0)
      const redis = new RedisClient(redisUrl)
      await until(async () => (await redis.get(`media:limit:${key}`)) === '51')
      redis.close()
      await proxy.close()
    })

    test('allows exactly so many, one after the other or at the same time', async () => {
      const { take } = await onRedis((await services()).redisUrl, { limit })
      for (const together of [1, 20, 400]) {
        const key = crypto.randomUUID()
        let allowed = 0
        for (let sent = 0; sent < 400; sent += together) {
          const answers = await Promise.all(Array.from({ length: together }, () => take(key)))
          allowed += answers.filter((answer) => answer?.allowed).length
        }
        expect([together, allowed]).toEqual([together, limit])
      }
    })

    test('lets two replicas that are asked in turns pass no more than that', async () => {
      const { redisUrl } = await services()
      const replicas = [await onRedis(redisUrl, { limit }), await onRedis(redisUrl, { limit })]
      const key = crypto.randomUUID()
      let allowed = 0
      for (let i = 0; i < 200; i++) for (const { take } of replicas) if ((await take(key))?.allowed) allowed += 1
      expect(allowed).toBe(limit)
    })

    test('says once that Redis hangs, also when no request has waited for it', async () => {
      const proxy = await startProxy((await services()).redisUrl)
      const { log, lines } = createRecordingLog()
      const { take } = await onRedis(proxy.url, { limit, log })
      await take('anyone')
      await proxy.blackhole()
      expect(await take('anyone')).toMatchObject({ allowed: true })
      await until(async () => (await take('anyone')) === null)
      expect(lines.filter(({ level }) => level === 40)).toHaveLength(1)
      await proxy.close()
    })
  })
})
