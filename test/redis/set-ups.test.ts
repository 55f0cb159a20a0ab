import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Redis } from 'ioredis'
import { openBuses } from '../../src/boot/redis.ts'
import type { EventBus } from '../../src/events/events.ts'
import { createRedisEventBus, EVENT_STREAM } from '../../src/events/redis.ts'
import { parseSentinels, type RedisTarget } from '../../src/redis/target.ts'
import { until } from '../support/clock/until.ts'
import { newEvent } from '../support/events.ts'
import { startProxy, type TcpProxy } from '../support/process/proxy.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { type RedisServer, redisPrograms, startRedisServer } from '../support/services/redis.ts'
import { documentedRights } from '../support/services/redis-rights.ts'
import { withoutServices } from '../support/services/services.ts'

const programs = withoutServices() ? [] : redisPrograms()
const BACK_MS = 5000
// Beside what else the machine has to do.
const SLACK_MS = 5000

let folder: Folder
let servers: RedisServer[] = []
let program: string | undefined
const start = async (name: string, options: Parameters<typeof startRedisServer>[2] = {}) => {
  const server = await startRedisServer(folder.path, name, { program, ...options })
  servers.push(server)
  await server.redis.connect()
  return server
}

const setUp = (of: string) => {
  beforeAll(async () => {
    program = of
    folder = await createFolder()
  })
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()))
    servers = []
    await folder.remove()
  }, 30_000)
}

const open = (target: RedisTarget) => createRedisEventBus({ ...target, log: createRecordingLog().log })

describe.each(programs)('a replica of %s that takes over', (of) => {
  setUp(of)
  let old: RedisServer
  let young: RedisServer
  let address: TcpProxy
  beforeAll(async () => {
    old = await start('old')
    young = await start('young', { args: ['--replicaof', '127.0.0.1', String(old.port)] })
    await old.redis.call('ACL', 'SETUSER', 'plain', 'on', 'nopass', '~*', '&*', '+@all', '-@scripting')
    await young.redis.call('ACL', 'SETUSER', 'plain', 'on', 'nopass', '~*', '&*', '+@all', '-@scripting')
    address = await startProxy(old.url)
  }, 30_000)
  afterAll(() => address.close())

  // `plain` may not run scripts: its events go by transactions, which fail with EXECABORT.
  test('behind the same address, with connections kept, gets the events within seconds', async () => {
    await until(async () => (await young.redis.info('replication')).includes('master_link_status:up'))
    const urls = [address.url, address.url.replace('redis://', 'redis://plain:any@')]
    const buses = await Promise.all(urls.map((url) => open({ url })))
    for (const bus of buses) {
      await bus.publish([newEvent(1)])
      await bus.check()
    }
    await until(async () => (await young.redis.xlen(EVENT_STREAM)) === 2)
    await young.redis.replicaof('NO', 'ONE')
    await old.redis.replicaof('127.0.0.1', young.port)
    for (const bus of buses) {
      await expect(bus.check()).rejects.toThrow('READONLY')
      await expect(bus.publish([newEvent(2)])).rejects.toThrow()
    }
    address.leadTo(young.url)
    const promoted = performance.now()
    for (const bus of buses) await published(bus)
    expect(performance.now() - promoted).toBeLessThan(BACK_MS + SLACK_MS)
    for (const bus of buses) await bus.check()
    expect(await young.redis.xlen(EVENT_STREAM)).toBe(4)
    await Promise.all(buses.map((bus) => bus.close()))
  }, 30_000)
})

describe.each(programs)('a master of %s that Sentinels name', (of) => {
  setUp(of)

  test('is found, and so is the one that takes over', async () => {
    const PASSWORD = 'only-of-these-tests'
    const login = `:${PASSWORD}@`
    const auth = ['--requirepass', PASSWORD, '--masterauth', PASSWORD]
    const master = await start('master', { args: auth, login })
    const replica = await start('replica', { args: [...auth, '--replicaof', '127.0.0.1', String(master.port)], login })
    const sentinel = await start('sentinel', { sentinel: true })
    const tell = (...args: (string | number)[]) => sentinel.redis.call('SENTINEL', ...args)
    await tell('MONITOR', 'media', '127.0.0.1', master.port, 1)
    await tell('SET', 'media', 'auth-pass', PASSWORD)
    await tell('SET', 'media', 'down-after-milliseconds', 500)
    await tell('SET', 'media', 'failover-timeout', 3000)
    await until(async () => ((await tell('REPLICAS', 'media')) as unknown[]).length === 1)

    const { log, lines } = createRecordingLog()
    const closers: (() => void | Promise<void>)[] = []
    const redisSentinels = parseSentinels(`127.0.0.1:1,127.0.0.1:${sentinel.port}`)
    const settings = { redisUrl: `redis://${login}media`, redisSentinels, rateLimitPerMinute: 100 }
    const { events, limiter } = await openBuses(settings, log, closers)
    await events.publish([newEvent(1)])
    await events.check()
    expect(await limiter?.take('somebody')).toMatchObject({ remaining: 99 })
    await until(async () => (await replica.redis.xlen(EVENT_STREAM)) === 1)
    await master.kill()
    await until(async () => (await replica.redis.role())[0] === 'master')
    const promoted = performance.now()
    await published(events)
    expect(performance.now() - promoted).toBeLessThan(BACK_MS + SLACK_MS)
    expect(await replica.redis.xlen(EVENT_STREAM)).toBe(2)
    expect(lines.filter(({ level }) => level >= 50)).toEqual([])
    for (const close of closers.reverse()) await close()
    await sentinel.redis.call('ACL', 'SETUSER', 'default', 'resetpass', `>${PASSWORD}`)
    for (const wrong of ['', 'user-of-none:wrong@', ':wrong@'])
      await expect(
        openBuses({ ...settings, redisSentinels: parseSentinels(`${wrong}127.0.0.1:${sentinel.port}`) }, log, []),
      ).rejects.toThrow('REDIS_SENTINELS: Redis does not let the service in')
    await sentinel.redis.call('ACL', 'SETUSER', 'default', 'nopass')
    await expect(
      openBuses({ ...settings, redisUrl: sentinel.url, redisSentinels: undefined }, log, []),
    ).rejects.toThrow('REDIS_URL: names a Sentinel')
  }, 40_000)
})

describe.each(programs)('a cluster of %s', (of) => {
  setUp(of)
  let nodes: RedisServer[]
  beforeAll(async () => {
    const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000']
    nodes = await Promise.all(['a', 'b', 'c'].map((name) => start(name, { args })))
    await formCluster(nodes)
    const { events, limits, cluster } = documentedRights()
    const rules = ['reset', 'on', '>its-password', ...`${events} ${limits} ${cluster}`.split(' ')]
    await Promise.all(nodes.map(({ redis }) => redis.call('ACL', 'SETUSER', 'media', ...rules)))
  }, 40_000)

  test('is found out from the URL of one node, and takes events and counts of many callers, with the least rights', async () => {
    const closers: (() => void | Promise<void>)[] = []
    const { log, lines } = createRecordingLog()
    const settings = {
      redisUrl: nodes[0]?.url.replace('redis://', 'redis://media:its-password@'),
      redisSentinels: undefined,
      rateLimitPerMinute: 100,
    }
    const { events, limiter, found } = await openBuses(settings, log, closers)
    expect(found).toMatchObject({ mode: 'cluster' })
    await expectEvents(events)
    const allowances = await Promise.all(Array.from({ length: 50 }, (_, i) => limiter?.take(`caller ${i}`)))
    expect(allowances.map((allowance) => allowance?.remaining)).toEqual(allowances.map(() => 99))
    expect(lines.filter(({ level }) => level >= 40)).toEqual([])
    for (const close of closers.reverse()) await close()
  }, 20_000)

  test('is found out, too, when it was not there at start', async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    const events = await open({ url: nodes[1]?.url ?? '' })
    await Promise.all(nodes.map((node) => node.start()))
    await until(() => events.check().then(...bothWays))
    await expectEvents(events)
    await events.close()
  }, 30_000)
})

const bothWays = [() => true, () => false] as const

/** Publishes as soon as that is possible. */
async function published(bus: EventBus): Promise<void> {
  const event = newEvent(3)
  await until(() => bus.publish([event]).then(...bothWays))
}

async function expectEvents(events: EventBus): Promise<void> {
  const user = crypto.randomUUID()
  const ending = new AbortController()
  const followed = await events.follow(user, { after: undefined, ending, silenceMs: 60_000 })
  const iterator = followed[Symbol.asyncIterator]()
  await iterator.next()
  const sent = [newEvent(1, user), newEvent(2, user)]
  await events.publish(sent)
  for (const event of sent) expect((await iterator.next()).value).toMatchObject({ kind: 'event', event })
  await events.check()
  ending.abort()
}

/** Joins empty nodes, and gives each a part of the slots. */
async function formCluster(nodes: RedisServer[]): Promise<void> {
  const share = Math.ceil(16_384 / nodes.length)
  await Promise.all(
    nodes.map(async ({ redis }, i) => {
      await redis.call('CLUSTER', 'ADDSLOTSRANGE', i * share, Math.min((i + 1) * share, 16_384) - 1)
      await redis.call('CLUSTER', 'MEET', '127.0.0.1', nodes[0]?.port ?? 0)
    }),
  )
  const whole = async ({ redis }: { redis: Redis }) => {
    const info = String(await redis.call('CLUSTER', 'INFO'))
    return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${nodes.length}`)
  }
  for (const node of nodes) await until(() => whole(node))
}
