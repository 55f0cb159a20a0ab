import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { until } from '../support/clock/until.ts'
import { freePort } from '../support/process/port.ts'
import { createCertificates, haveOpenssl } from '../support/services/certificates.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { type RedisServer, redisPrograms, startRedisServer } from '../support/services/redis.ts'
import { withoutServices } from '../support/services/services.ts'

// Once, on Valkey where it is there: Redis alone has TLS in test/faults/private-ca.
const program = withoutServices() || !haveOpenssl() ? undefined : redisPrograms().at(-1)

describe.skipIf(program === undefined)('with certificates by a private CA', () => {
  let folder: Folder
  let ca: string
  const servers: RedisServer[] = []
  /** Everything but this test's own orders goes through TLS: replication, the bus of the cluster, and clients. */
  async function start(name: string, { args = [] as string[], sentinel = false } = {}) {
    const port = await freePort()
    const tls = ['--tls-port', String(port), '--tls-replication', 'yes', '--tls-auth-clients', 'no', ...files]
    const server = await startRedisServer(folder.path, name, { program, sentinel, args: [...tls, ...args] })
    servers.push(server)
    await server.redis.connect()
    return { server, port }
  }
  let files: string[]
  beforeAll(async () => {
    folder = await createFolder()
    const made = await createCertificates(folder.path)
    ca = made.ca
    const { cert, key } = made.server
    files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', ca]
  }, 30_000)
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()))
    await folder.remove()
  }, 30_000)

  test('a master that Sentinels name takes events, whether they have TLS too or not, and none without the CA', async () => {
    const { port } = await start('master')
    const sentinel = await start('sentinel', { sentinel: true })
    await sentinel.server.redis.call('SENTINEL', 'MONITOR', 'media', '127.0.0.1', port, 1)
    await until(async () => String(await sentinel.server.redis.info('sentinel')).includes('status=ok'))
    const settings = { redisUrl: 'rediss://media', sentinels: `rediss://127.0.0.1:${sentinel.port}` }
    const plain = { redisUrl: 'rediss://media', sentinels: `127.0.0.1:${sentinel.server.port}` }
    for (const these of [settings, plain])
      expect(await buses(these, ca)).toEqual({ mode: 'standalone', followed: 'event', remaining: expect.any(Number) })
    expect(await buses(settings)).toEqual({
      error: expect.stringContaining("REDIS_SENTINELS: the server's certificate is not accepted"),
    })
    expect(await buses(plain)).toEqual({
      error: expect.stringContaining("REDIS_URL: the server's certificate is not accepted"),
    })
  }, 60_000)

  test('a cluster takes events and counts at the addresses that its nodes announce, and none without the CA', async () => {
    const nodes = await Promise.all(
      ['a', 'b'].map((name) => start(name, { args: ['--cluster-enabled', 'yes', '--tls-cluster', 'yes'] })),
    )
    await Promise.all(
      nodes.map(({ server: { redis } }, i) => redis.call('CLUSTER', 'ADDSLOTSRANGE', i * 8192, i * 8192 + 8191)),
    )
    await nodes[0]?.server.redis.call('CLUSTER', 'MEET', '127.0.0.1', nodes[1]?.port ?? 0)
    for (const { server } of nodes)
      await until(async () => String(await server.redis.call('CLUSTER', 'INFO')).includes('cluster_state:ok'))
    const settings = { redisUrl: `rediss://127.0.0.1:${nodes[0]?.port}` }
    expect(await buses(settings, ca)).toEqual({ mode: 'cluster', followed: 'event', remaining: expect.any(Number) })
    expect(await buses(settings)).toEqual({ error: expect.stringContaining('certificate is not accepted') })
  }, 60_000)

  /** In a process of its own, since CAs are read when a process starts. */
  async function buses(settings: { redisUrl: string; sentinels?: string }, extraCa?: string): Promise<unknown> {
    const { stdout } = Bun.spawnSync([process.execPath, '--no-env-file', `${import.meta.dir}/tls-buses.ts`], {
      env: {
        PATH: process.env.PATH,
        SETTINGS: JSON.stringify(settings),
        ...(extraCa && { NODE_EXTRA_CA_CERTS: extraCa }),
      },
      stderr: 'inherit',
      timeout: 45_000,
    })
    return JSON.parse(stdout.toString())
  }
})
