import { setDefaultTimeout } from 'bun:test'
import { join } from 'node:path'
import { type Client, createClient, JWT_SECRET } from '../http/client.ts'
import { type Inside, lookInside } from '../http/inside.ts'
import { createBucketName, removeBucket } from '../services/buckets.ts'
import { createDatabase } from '../services/database.ts'
import { createFolder, type Folder } from '../services/folder.ts'
import { copyMigratedPGlite } from '../services/pglite.ts'
import type { Services } from '../services/services.ts'
import { afterAllFiles, services } from '../services/shared.ts'
import { acceptanceRun, type RunningService, startService } from './service.ts'

export const { runtime, backend } = acceptanceRun()

// What takes a second alone may take a minute on a machine that has much else to do.
const TEST_MS = 90_000

/** The service, started for one test file on parts of its own, and what a client can do with it. */
export type Stage = Client & {
  service: RunningService
  /** What another process on the same parts has to be told. */
  env: Record<string, string>
  /** A look behind the scenes; absent on the embedded default, where only HTTP shows what happened. */
  inside: Inside | undefined
  /** Ends it all; throws when the service answered anything with `internal`, which no test provokes. */
  close(): Promise<void>
}

/**
 * Starts the service with an empty database and bucket, or on a folder of its own for the embedded default. Call it at
 * the top of a test file, and `close` in `afterAll`.
 * @param settings beside those that say where the parts are
 */
export async function openStage(settings: Record<string, string> = {}): Promise<Stage> {
  setDefaultTimeout(TEST_MS)
  const parts = await openParts()
  const env = { ...parts.env, AUTH_JWT_SECRET: JWT_SECRET, ...settings }
  const service = await startService({ runtime, env })
  const inside = parts.services && (await lookInside(parts.services, env))
  return {
    ...createClient(service.baseUrl),
    service,
    env,
    inside,
    async close() {
      await inside?.close()
      await service.stop()
      await parts.remove()
      expectNoFailures(service)
    },
  }
}

let usual: Promise<Stage> | undefined

/**
 * The service as it is without further settings: one for all files that only look at objects of their own, and leave the
 * process alone. It ends after the last of them.
 */
export function usualStage(): Promise<Omit<Stage, 'close'>> {
  setDefaultTimeout(TEST_MS)
  usual ??= openStage().then((stage) => {
    // Of a process's files, or of each of them where several run side by side.
    afterAllFiles(() => {
      usual = undefined
      return stage.close()
    })
    return stage
  })
  return usual
}

/** Throws when a service answered anything with `internal`: whatever a test does, there is a better answer. */
export function expectNoFailures(service: RunningService): void {
  const failures = service
    .logs()
    .split('\n')
    .filter((line) => line.includes('"code":"internal"'))
  if (failures.length > 0) throw new Error(`The service failed where it should not:\n${failures.join('\n')}`)
}

/** The settings that make the service use a database and a bucket of these services. */
export function settingsFor(own: Services, databaseUrl: string, bucket: string): Record<string, string> {
  return {
    DATABASE_URL: databaseUrl,
    REDIS_URL: own.redisUrl,
    S3_ENDPOINT: own.s3.endpoint,
    S3_REGION: own.s3.region,
    S3_BUCKET: bucket,
    AWS_ACCESS_KEY_ID: own.s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: own.s3.secretAccessKey,
  }
}

/** A DATA_DIR of its own, in which the embedded database is made and migrated already. */
export async function createDataDir(): Promise<Folder> {
  const folder = await createFolder()
  await copyMigratedPGlite(join(folder.path, 'postgres'))
  return folder
}

/** What the service stands on, empty and of its own. */
type Parts = { env: Record<string, string>; services: Services | undefined; remove: () => Promise<void> }

export async function openParts(): Promise<Parts> {
  if (backend === 'embedded') {
    const { path, remove } = await createDataDir()
    return { env: { DATA_DIR: path }, services: undefined, remove }
  }
  const shared = await services()
  const database = await createDatabase({ migrated: true })
  const bucket = createBucketName()
  return {
    env: settingsFor(shared, database.url, bucket),
    services: shared,
    async remove() {
      await Promise.all([database.drop(), removeBucket(bucket)])
    },
  }
}

/** Starts the service with these settings alone; its exit code and what it wrote. */
export async function startAndFail(env: Record<string, string>): Promise<{ code: string; logs: string }> {
  const folder = await createFolder()
  const settings = { DATA_DIR: join(folder.path, 'data'), ...env }
  const failure = await startService({ runtime, env: settings }).then(
    async (service) => {
      await service.stop()
      throw new Error(`The service started with ${JSON.stringify(env)}`)
    },
    (error: Error) => error.message,
  )
  await folder.remove()
  const [, code = '', logs = ''] = /^The service ended with (\w+) before it was ready\n(.*)$/s.exec(failure) ?? []
  return { code, logs }
}
