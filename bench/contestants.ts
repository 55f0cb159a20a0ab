/** Who is measured: the service as it ships, also with limits, the reference, and the store alone; each on parts of its own. */

import { join } from 'node:path'
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { JWT_SECRET, tokenFor } from '../test/support/http/client.ts'
import { settingsFor } from '../test/support/process/acceptance.ts'
import { freePort } from '../test/support/process/port.ts'
import { tied } from '../test/support/process/process.ts'
import { repository } from '../test/support/repository.ts'
import { createBucketName, removeBucket, s3Client } from '../test/support/services/buckets.ts'
import { createDatabase } from '../test/support/services/database.ts'
import type { Services } from '../test/support/services/services.ts'
import { openReference } from './reference.ts'

export const names = ['ours', 'limited', 'reference', 'floor'] as const
export type Name = (typeof names)[number]

export type Contestant = {
  name: Name
  /** Of this one alone: the name, or that of a variant. */
  label: string
  baseUrl: string
  /** Absent for the store: it serves everybody. */
  pid?: number
  bucket: string
  /** Absent for the store. */
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

/** Limits that count every request and every byte, and stop none: the highest that there may be. */
export const LIMITS = { RATE_LIMIT_PER_MINUTE: '1000000', QUOTA_BYTES: '1000000000000000', QUOTA_OBJECTS: '1000000000' }

export const open: Record<Name, (services: Services, folder: string) => Promise<Contestant>> = {
  ours: (services, folder) => openService({ label: 'ours', services, folder }),
  limited: async (services, folder) => {
    const limited = await openService({ label: 'limited', services, folder, settings: LIMITS })
    return { ...limited, name: 'limited' }
  },
  reference: async () => ({ name: 'reference', label: 'reference', ...(await openReference()) }),
  floor: openFloor,
}

/** As in production, its log in a file; only that one user may do as much as they like, unless `settings` say otherwise. */
export async function openService(of: {
  label: string
  services: Services
  folder: string
  /** Where its source is, with its packages. */
  checkout?: string
  settings?: Record<string, string>
}): Promise<Contestant> {
  const database = await createDatabase()
  const bucket = createBucketName()
  const env = {
    ...settingsFor(of.services, database.url, bucket),
    NODE_ENV: 'production',
    PUBLIC_BASE_URL: 'https://media.example.com',
    AUTH_JWT_SECRET: JWT_SECRET,
    RATE_LIMIT_PER_MINUTE: '0',
    ...of.settings,
  }
  const log = join(of.folder, `log-${of.label}`)
  const checkout = of.checkout ?? repository
  // The first start makes the tables and the bucket, once in the life of an installation.
  await (await start(checkout, env, log)).stop()
  const { stop, ...running } = await start(checkout, env, log)
  return {
    name: 'ours',
    label: of.label,
    ...running,
    bucket,
    databaseUrl: database.url,
    async close() {
      await stop()
      await Promise.all([database.drop(), removeBucket(bucket)])
    },
  }
}

async function start(checkout: string, env: Record<string, string>, path: string) {
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const log = Bun.file(path)
  const begun = performance.now()
  const command = [process.execPath, '--no-env-file', join(checkout, 'src', 'main.ts')]
  const child = Bun.spawn(tied(command), {
    cwd: checkout,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      HOST: '127.0.0.1',
      PORT: String(port),
      PUBLIC_BASE_URL: baseUrl,
      ...env,
    },
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
  return { name: 'floor', label: 'floor', baseUrl: s3.endpoint, bucket, close: () => removeBucket(bucket) }
}
