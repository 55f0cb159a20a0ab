import { composeAnswers, startCompose } from './compose.ts'
import { createFolder } from './folder.ts'
import { findMinio, minioAccount, startMinio } from './minio.ts'
import type { ServiceControl } from './native.ts'
import { findPostgres, startPostgres } from './postgres.ts'
import { findRedis, startRedis } from './redis.ts'

export type Services = {
  /** A superuser's URL of the database `postgres`; take a database of your own from createDatabase(). */
  databaseUrl: string
  redisUrl: string
  s3: { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string }
  /** Absent when the services were given by TEST_* settings: they are somebody else's. */
  control?: { postgres: ServiceControl; redis: ServiceControl; minio: ServiceControl }
  /** Stops and removes what was started; nothing for given services. */
  stop(): Promise<void>
}

/** Thrown when there is no way to services here; the message says what is missing and how to get it. */
export class ServicesMissing extends Error {
  override name = 'ServicesMissing'
}

type Settings = Record<string, string | undefined>

/**
 * Real Postgres, Redis and MinIO for tests: those that TEST_DATABASE_URL, TEST_REDIS_URL and TEST_S3_* name, else by
 * `docker compose` where an engine answers, else this machine's own programs. With `{}` as settings they are always
 * fresh and can be controlled, which is what a test that stops or kills them needs.
 * @param options `durable`: this machine's own, with a database that has on disk what it has committed
 * @throws ServicesMissing
 */
export async function startServices(settings: Settings = process.env, { durable = false } = {}): Promise<Services> {
  if (withoutServices()) throw new ServicesMissing('TEST_SERVICES is none: nothing is started.')
  const given = givenServices(settings)
  if (given) return given
  if (composeAnswers() && !durable) return withCompose()
  const missing = missingPrograms()
  if (missing.length > 0) {
    throw new ServicesMissing(
      `Missing for the tests: ${missing.join(', ')}. Start a Docker engine; or install them with ` +
        '`bun test/setup.ts` (as root on Debian or Ubuntu) or by hand (Debian packages postgresql and redis-server, ' +
        `minio by \`go install\`); or set ${settingNames.join(', ')}.`,
    )
  }
  return withNative({ durable })
}

/** The TEST_* settings under which another process finds these services. */
export function settingsOf(services: Services): Record<(typeof settingNames)[number], string> {
  return {
    TEST_DATABASE_URL: services.databaseUrl,
    TEST_REDIS_URL: services.redisUrl,
    TEST_S3_ENDPOINT: services.s3.endpoint,
    TEST_S3_ACCESS_KEY_ID: services.s3.accessKeyId,
    TEST_S3_SECRET_ACCESS_KEY: services.s3.secretAccessKey,
  }
}

/** Whether this run does without services on purpose, as `bun run check` does: then nothing starts any, not even its own. */
export function withoutServices(): boolean {
  return process.env.TEST_SERVICES === 'none'
}

/** Whether services come from elsewhere, so that this machine needs no programs of its own for them. */
export function servedElsewhere(settings: Settings = process.env): boolean {
  return givenServices(settings) !== undefined || composeAnswers()
}

const settingNames = [
  'TEST_DATABASE_URL',
  'TEST_REDIS_URL',
  'TEST_S3_ENDPOINT',
  'TEST_S3_ACCESS_KEY_ID',
  'TEST_S3_SECRET_ACCESS_KEY',
] as const

function givenServices(settings: Settings): Services | undefined {
  const absent = settingNames.filter((name) => !settings[name])
  if (absent.length === settingNames.length) return undefined
  // Some of them only is a slip; starting services of our own instead would hide it.
  if (absent.length > 0) throw new Error(`Set all of the TEST_* settings for services or none: no ${absent.join(', ')}`)
  const setting = (name: (typeof settingNames)[number]) => settings[name] ?? ''
  return {
    databaseUrl: setting('TEST_DATABASE_URL'),
    redisUrl: setting('TEST_REDIS_URL'),
    s3: {
      endpoint: setting('TEST_S3_ENDPOINT'),
      region: minioAccount.region,
      accessKeyId: setting('TEST_S3_ACCESS_KEY_ID'),
      secretAccessKey: setting('TEST_S3_SECRET_ACCESS_KEY'),
    },
    stop: async () => {},
  }
}

async function withCompose(): Promise<Services> {
  const { remove, ...control } = await startCompose()
  return fromControl(control, remove)
}

function missingPrograms(): string[] {
  const found = { postgres: findPostgres(), 'redis-server': findRedis(), minio: findMinio(), ps: Bun.which('ps') }
  return Object.entries(found).flatMap(([name, path]) => (path ? [] : [name]))
}

async function withNative({ durable }: { durable: boolean }): Promise<Services> {
  const folder = await createFolder()
  const starts = await Promise.allSettled([
    startPostgres(folder.path, { durable }),
    startRedis(folder.path),
    startMinio(folder.path),
  ] as const)
  const [postgres, redis, minio] = starts
  if (postgres.status === 'fulfilled' && redis.status === 'fulfilled' && minio.status === 'fulfilled') {
    const control = { postgres: postgres.value, redis: redis.value, minio: minio.value }
    return fromControl(control, () => stopAll(Object.values(control), folder.remove))
  }
  await stopAll(
    starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : [])),
    folder.remove,
  )
  throw failuresOf(starts)
}

async function stopAll(controls: ServiceControl[], remove: () => Promise<void>): Promise<void> {
  const stops = await Promise.allSettled(controls.map((service) => service.stop()))
  await remove()
  if (stops.some((stop) => stop.status === 'rejected')) throw failuresOf(stops)
}

function failuresOf(outcomes: readonly PromiseSettledResult<unknown>[]): Error {
  const reasons = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
  return new AggregateError(reasons, reasons.map(String).join('\n'))
}

function fromControl(control: NonNullable<Services['control']>, stop: () => Promise<void>): Services {
  return {
    databaseUrl: control.postgres.url,
    redisUrl: control.redis.url,
    s3: { endpoint: control.minio.url, ...minioAccount },
    control,
    stop,
  }
}
