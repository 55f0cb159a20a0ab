import { afterAll, describe, expect, test } from 'bun:test'
import type { Limiter } from '../../src/limits/limits.ts'
import { createMemoryLimiter } from '../../src/limits/memory.ts'
import { createRedisLimiter } from '../../src/limits/redis.ts'
import { startProxy } from '../proxy.ts'
import { createRecordingLog } from '../recording-log.ts'
import { haveServices, services } from '../services/shared.ts'
import { until } from '../until.ts'

const LIMIT = 3
const limiters: Limiter[] = []
afterAll(() => Promise.all(limiters.map(({ close }) => close())))

const kept = (limiter: Limiter) => {
  limiters.push(limiter)
  return limiter
}
const onRedis = async (url: string, { log = createRecordingLog().log, now = Date.now } = {}) =>
  kept(await createRedisLimiter({ url, limit: LIMIT, log, now }))

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

  test('does not ask Redis any more about who is over the limit', async () => {
    const proxy = await startProxy((await services()).redisUrl)
    const { take } = await onRedis(proxy.url)
    const key = crypto.randomUUID()
    for (let i = 0; i <= LIMIT; i++) await take(key)
    const received = proxy.received()
    for (let i = 0; i < 20; i++) expect(await take(key)).toMatchObject({ allowed: false, remaining: 0 })
    expect(proxy.received()).toBe(received)
    await proxy.close()
  })
})
