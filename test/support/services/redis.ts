import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { RedisClient } from 'bun'
import { freePort } from '../process/port.ts'
import { type ServiceControl, startNative } from './native.ts'

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

export function findRedis(): string | undefined {
  return Bun.which('redis-server') ?? undefined
}
