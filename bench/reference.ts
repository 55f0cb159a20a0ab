/** The service to compare with: `reference/`, what a team would build from the same specification with Express. */
import { cp, readFile } from 'node:fs/promises'
import { arch, homedir, platform } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import postgres from 'postgres'
import { JWT_SECRET } from '../test/support/http/client.ts'
import { freePort } from '../test/support/process/port.ts'
import { runToEnd, tied } from '../test/support/process/process.ts'
import { createBucketName, removeBucket, s3Client } from '../test/support/services/buckets.ts'
import { createDatabase } from '../test/support/services/database.ts'
import { services } from '../test/support/services/shared.ts'
import { built } from './cache.ts'

export type Reference = { baseUrl: string; pid: number; bucket: string; databaseUrl: string; close(): Promise<void> }

const SOURCE = join(import.meta.dirname, 'reference')
export const NODE_VERSION = '24.21.0'

/** Starts the reference on a database and a bucket of its own; the first time it is installed, which takes a minute. */
export async function openReference(): Promise<Reference> {
  const folder = await install()
  const { redisUrl, s3 } = await services()
  const database = await createDatabase()
  const bucket = createBucketName()
  await makeParts(database.url, bucket)
  const port = await freePort()
  const child = Bun.spawn(tied([join(folder, 'node_modules', NODE_PACKAGE, 'bin', 'node'), 'server.js']), {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      PORT: String(port),
      JWT_SECRET,
      DATABASE_URL: database.url,
      REDIS_URL: redisUrl,
      S3_ENDPOINT: s3.endpoint,
      S3_REGION: s3.region,
      S3_BUCKET: bucket,
      S3_ACCESS_KEY: s3.accessKeyId,
      S3_SECRET_KEY: s3.secretAccessKey,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const baseUrl = `http://127.0.0.1:${port}`
  await untilUp(`${baseUrl}/health`)
  return {
    baseUrl,
    pid: child.pid,
    bucket,
    databaseUrl: database.url,
    async close() {
      child.kill('SIGKILL')
      await child.exited
      await Promise.all([database.drop(), removeBucket(bucket)])
    },
  }
}

const NODE_PACKAGE = `node-${platform()}-${arch()}`

/** A folder with the reference and its own Node. */
function install(): Promise<string> {
  return built('the reference', { source: SOURCE, version: NODE_VERSION }, async (folder) => {
    await cp(SOURCE, folder, { recursive: true })
    const npm = ['npm', 'install', '--no-audit', '--no-fund', '--no-save', '--omit=dev']
    const env = { HOME: homedir(), PATH: process.env.PATH ?? '' }
    await runToEnd([...npm, `${NODE_PACKAGE}@${NODE_VERSION}`], { cwd: folder, env })
  })
}

async function makeParts(databaseUrl: string, bucket: string): Promise<void> {
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  await sql.unsafe(await readFile(join(SOURCE, 'schema.sql'), 'utf8'))
  await sql.end()
  const client = await s3Client()
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
}

async function untilUp(url: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    const up = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    )
    if (up) return
    if (tries === 150) throw new Error('the reference did not start')
    await Bun.sleep(100)
  }
}
