import { test } from 'bun:test'
import { type Client, createClient, JWT_SECRET } from '../http/client.ts'
import { type Inside, lookInside } from '../http/inside.ts'
import { createBucketName, removeBucket } from '../services/buckets.ts'
import { createDatabase } from '../services/database.ts'
import { services } from '../services/shared.ts'
import { settingsFor } from './acceptance.ts'
import { startProxy, type TcpProxy } from './proxy.ts'
import { acceptanceRun, type RunningService, runUpkeep, startService } from './service.ts'

const { runtime } = acceptanceRun()

/** A service that reaches its database, store and Redis through proxies that can break. */
export type FaultStage = Client & {
  database: TcpProxy
  store: TcpProxy
  redis: TcpProxy
  service: RunningService
  /** Looks at what is there past the proxies. */
  inside: Inside
  /** One more process on the same parts, past the proxies. */
  startAnother(): Promise<RunningService & Client>
  /** One pass of upkeep, past the proxies. */
  runUpkeep(): Promise<void>
}

const TIMEOUT_MS = 90_000

/** A test on a stage of its own: those of a file wait for their deadlines at the same time. */
export function faultTest(name: string, body: (stage: FaultStage) => Promise<void>): void {
  test.concurrent(name, () => onStage(body), TIMEOUT_MS)
}

async function onStage(body: (stage: FaultStage) => Promise<void>): Promise<void> {
  const shared = await services()
  const [own, database, store, redis] = await Promise.all([
    createDatabase({ migrated: true }),
    startProxy(shared.databaseUrl),
    startProxy(shared.s3.endpoint),
    startProxy(shared.redisUrl),
  ])
  const bucket = createBucketName()
  const direct = { ...settingsFor(shared, own.url, bucket), AUTH_JWT_SECRET: JWT_SECRET }
  const running: RunningService[] = []
  const start = async (env: Record<string, string>) => {
    const service = await startService({ runtime, env })
    running.push(service)
    return service
  }
  let inside: Inside | undefined
  try {
    const service = await start({
      ...direct,
      DATABASE_URL: Object.assign(new URL(own.url), { port: new URL(database.url).port }).href,
      S3_ENDPOINT: store.url,
      S3_PUBLIC_ENDPOINT: shared.s3.endpoint,
      REDIS_URL: redis.url,
    })
    inside = await lookInside(shared, direct)
    await body({
      ...createClient(service.baseUrl),
      database,
      store,
      redis,
      service,
      inside,
      async startAnother() {
        const another = await start(direct)
        return { ...another, ...createClient(another.baseUrl) }
      },
      runUpkeep: () => runUpkeep(direct),
    })
  } finally {
    await inside?.close()
    // What is broken would only hold up an end in order.
    await Promise.all(running.map((service) => service.kill()))
    await Promise.all([database.close(), store.close(), redis.close()])
    await Promise.all([own.drop(), removeBucket(bucket)])
  }
}

/** A result, and the seconds until it was there. */
export async function timed<T>(work: Promise<T>): Promise<{ result: T; seconds: number }> {
  const start = performance.now()
  const result = await work
  return { result, seconds: (performance.now() - start) / 1000 }
}

export type Readiness = { status: string; database: string; storage: string; events: string }

/** What the service says of itself, which takes it 3 s at most, with every part of it hanging. */
export async function readiness({ call }: Client): Promise<{ status: number; body: Readiness }> {
  const { result, seconds } = await timed(call('/health/ready'))
  if (seconds > 3) throw new Error(`readiness took ${seconds} s`)
  return { status: result.status, body: (await result.json()) as Readiness }
}
