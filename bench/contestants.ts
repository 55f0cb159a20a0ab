/** Who is measured: the service as it ships, the reference, and the store alone. Each with fresh parts of its own. */
import { join } from 'node:path'
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { JWT_SECRET, tokenFor } from '../test/acceptance/client.ts'
import { commandFor, repository } from '../test/acceptance/service.ts'
import { settingsFor } from '../test/acceptance/stage.ts'
import { createBucketName, removeBucket, s3Client } from '../test/buckets.ts'
import { createDatabase } from '../test/database.ts'
import { freePort } from '../test/port.ts'
import { tied } from '../test/process.ts'
import type { Services } from '../test/services/services.ts'
import { openReference } from './reference.ts'

export const names = ['ours', 'reference', 'floor'] as const
export type Name = (typeof names)[number]

export type Contestant = {
  name: Name
  baseUrl: string
  /** Absent for the store: it serves everybody. */
  pid?: number
  bucket: string
  /** Of the service. */
  databaseUrl?: string
  /** Milliseconds from the start of the process to its first 200 at /health/ready. */
  readyMs?: number
  close(): Promise<void>
}

/** Whose requests they are. */
export const USER = '11111111-2222-4333-8444-555555555555'

/** The headers of one user's requests. */
export async function authorization(): Promise<{ authorization: string }> {
  const exp = Math.floor(Date.now() / 1000) + 86_400
  return { authorization: `Bearer ${await tokenFor(USER, { exp })}` }
}

export const open: Record<Name, (services: Services, folder: string) => Promise<Contestant>> = {
  ours: openOurs,
  reference: async () => ({ name: 'reference', ...(await openReference()) }),
  floor: openFloor,
}

/** As in production, its log in a file; only that one user may do as much as they like. */
async function openOurs(services: Services, folder: string): Promise<Contestant> {
  const database = await createDatabase()
  const bucket = createBucketName()
  const env = {
    ...settingsFor(services, database.url, bucket),
    NODE_ENV: 'production',
    PUBLIC_BASE_URL: 'https://media.example.com',
    AUTH_JWT_SECRET: JWT_SECRET,
    RATE_LIMIT_PER_MINUTE: '0',
  }
  // The first start makes the tables and the bucket, once in the life of an installation.
  await (await start(env, folder)).stop()
  const { stop, ...running } = await start(env, folder)
  return {
    name: 'ours',
    ...running,
    bucket,
    databaseUrl: database.url,
    async close() {
      await stop()
      await Promise.all([database.drop(), removeBucket(bucket)])
    },
  }
}

async function start(env: Record<string, string>, folder: string) {
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const log = Bun.file(join(folder, 'log'))
  const begun = performance.now()
  const child = Bun.spawn(tied(commandFor('bun', port)), {
    cwd: repository,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, HOST: '127.0.0.1', PORT: String(port), ...env },
    stdio: ['ignore', log, log],
  })
  const ready = () => fetch(`${baseUrl}/health/ready`).then(({ ok }) => ok)
  while (!(await ready().catch(() => false))) {
    if (child.exitCode !== null) throw new Error(`The service ended with ${child.exitCode}\n${await log.text()}`)
    await Bun.sleep(5)
  }
  const readyMs = performance.now() - begun
  const stop = async () => {
    child.kill('SIGTERM')
    await child.exited
  }
  return { baseUrl, pid: child.pid, readyMs, stop }
}

async function openFloor({ s3 }: Services): Promise<Contestant> {
  const bucket = createBucketName()
  const client = await s3Client()
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
  return { name: 'floor', baseUrl: s3.endpoint, bucket, close: () => removeBucket(bucket) }
}
