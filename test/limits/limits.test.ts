import { afterAll, describe, expect, test } from 'bun:test'
import type { Limiter } from '../../src/limits/limits.ts'
import { createMemoryLimiter } from '../../src/limits/memory.ts'
import { createRedisLimiter } from '../../src/limits/redis.ts'
import { startProxy } from '../proxy.ts'
import { createRecordingLog } from '../recording-log.ts'
import { haveServices, services } from '../services/shared.ts'

const LIMIT = 3
const limiters: Limiter[] = []
afterAll(() => Promise.all(limiters.map(({ close }) => close())))

const kept = (limiter: Limiter) => {
  limiters.push(limiter)
  return limiter
}
const onRedis = async (url: string, log = createRecordingLog().log) =>
  kept(await createRedisLimiter({ url, limit: LIMIT, log }))

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
    const { take } = await onRedis(proxy.url, log)
    const before = lines.length
    await proxy.blackhole()
    const start = performance.now()
    for (let i = 0; i < 50; i++) expect(await take('anyone')).toBeNull()
    expect(performance.now() - start).toBeLessThan(2000)
    expect(lines.slice(before).filter(({ level }) => level === 40)).toHaveLength(1)
    await proxy.close()
  })
})
