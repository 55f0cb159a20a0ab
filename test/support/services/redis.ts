import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { RedisClient } from 'bun'
import { Redis } from 'ioredis'
import { freePort } from '../process/port.ts'
import { triedPart } from '../tried.ts'
import { type ServiceControl, startNative } from './native.ts'
import { findNewer } from './newer.ts'

/** One that can be recognised where it should not be. */
export const REDIS_PASSWORD = 'the-password-of-the-test-redis'

/** Starts Redis with its data in `folder`/redis; every write is with the kernel before it is answered. */
export async function startRedis(folder: string): Promise<ServiceControl> {
  const binary = findRedis()
  if (!binary) throw new Error('Redis is not installed')
  const own = join(folder, 'redis')
  await mkdir(own)
  const port = await freePort()
  const url = redisUrl(port)
  return startNative({
    name: 'Redis',
    url,
    command: [
      binary,
      ...['--bind', '127.0.0.1'],
      ...['--port', String(port)],
      ...['--requirepass', REDIS_PASSWORD],
      ...['--dir', own],
      ...['--appendonly', 'yes'],
      ...['--appendfsync', 'no'],
      ...['--save', ''],
    ],
    folder: own,
    stopSignal: 'SIGTERM',
    answers: () => redisAnswers(url),
  })
}

export function redisUrl(port: number): string {
  return `redis://:${REDIS_PASSWORD}@127.0.0.1:${port}`
}

/** Rejects until Redis answers; also while it loads its file after a restart. */
export async function redisAnswers(url: string): Promise<void> {
  const redis = new RedisClient(url, { autoReconnect: false, connectionTimeout: 2_000 })
  try {
    await redis.ping()
  } finally {
    redis.close()
  }
}

/** Redis or, where there is none, Valkey. */
export function findRedis(): string | undefined {
  return redisPrograms()[0]
}

/** The servers of this machine that speak Redis' protocol. */
export function redisPrograms(): string[] {
  const own = ['redis-server', 'valkey-server'].flatMap((name) => Bun.which(name) ?? [])
  return own.some((path) => path.endsWith('valkey-server')) ? own : [...own, findNewer('valkey-server') ?? []].flat()
}

export type RedisServer = ServiceControl & { readonly port: number; readonly redis: Redis }

type RedisServerOptions = {
  args?: string[]
  /** User info of the URL, such as `:password@`. */
  login?: string
  sentinel?: boolean
  port?: number
  program?: string | undefined
}

/**
 * Starts a further Redis in `folder`/NAME with these options of its own, without a password unless they set one.
 */
export async function startRedisServer(
  folder: string,
  name: string,
  { args = [], login = '', sentinel = false, port: given, program = findRedis() }: RedisServerOptions = {},
): Promise<RedisServer> {
  if (program === undefined) throw new Error('Redis is not installed')
  triedPart('Redis', nameOf(program, sentinel, args), [program, '--version'])
  const own = join(folder, name)
  await mkdir(own)
  const port = given ?? (await freePort())
  const url = `redis://${login}127.0.0.1:${port}`
  // Sentinels write to their file.
  if (sentinel) await Bun.write(join(own, 'sentinel.conf'), '')
  const service = await startNative({
    name: `Redis (${name})`,
    url,
    command: [
      program,
      ...(sentinel ? [join(own, 'sentinel.conf'), '--sentinel'] : ['--save', '', '--dir', own]),
      ...['--bind', '127.0.0.1', '--port', String(port)],
      ...args,
    ],
    folder: own,
    stopSignal: 'SIGTERM',
    answers: () => redisAnswers(url),
  })
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => 100, maxRetriesPerRequest: null })
  redis.on('error', () => {})
  const closing = (end: () => Promise<void>) => () => {
    redis.disconnect()
    return end()
  }
  return Object.assign(Object.create(service), { port, redis, stop: closing(service.stop) })
}

function nameOf(program: string, sentinel: boolean, args: string[]): string {
  const mode = sentinel ? 'Sentinel' : args.includes('--cluster-enabled') ? 'cluster' : 'standalone'
  const tls = args.includes('--tls-port') ? ', over TLS' : ''
  return `${program.endsWith('valkey-server') ? 'Valkey' : 'Redis'}, ${mode}${tls}`
}
