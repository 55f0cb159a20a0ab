import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { RedisClient } from 'bun'
import postgres from 'postgres'
import { processTree, runningOf } from './support/process/process.ts'
import { createBucketName, removeBucket, s3Client } from './support/services/buckets.ts'
import { createDatabase } from './support/services/database.ts'
import { postgresAnswers } from './support/services/postgres.ts'
import { type Services, startServices, withoutServices } from './support/services/services.ts'
import { haveServices } from './support/services/shared.ts'

const have = await haveServices()

describe.skipIf(!have)('services started for one test', () => {
  // Not the shared ones: those are killed here.
  let own: Services
  beforeAll(async () => {
    own = await startServices({})
  }, 60_000)
  afterAll(() => own.stop(), 60_000)

  test('keep what was committed when they are killed and started again', async () => {
    const { postgres: database, redis, minio } = own.control!
    await write(own)
    const before = [database.pid, redis.pid, minio.pid]
    await Promise.all([database.kill(), redis.kill(), minio.kill()])
    expect(runningOf(before.flatMap((pid) => pid ?? []))).toEqual([])
    expect(await answers(own)).toEqual([false, false, false])
    await Promise.all([database.start(), redis.start(), minio.start()])
    expect(await read(own)).toEqual(['kept', 'kept', 'kept'])
  }, 60_000)

  test('keep it when they are stopped in order, on the same ports', async () => {
    const { postgres: database, redis, minio } = own.control!
    await write(own)
    const before = [own.databaseUrl, own.redisUrl, own.s3.endpoint]
    await Promise.all([database.stop(), redis.stop(), minio.stop()])
    await Promise.all([database.start(), redis.start(), minio.start()])
    expect([database.url, redis.url, minio.url]).toEqual(before)
    expect(await read(own)).toEqual(['kept', 'kept', 'kept'])
  }, 60_000)

  test('hang while paused, connections that are open included, and go on afterwards', async () => {
    const { postgres: database } = own.control!
    const sql = postgres(own.databaseUrl, { max: 1 })
    await sql`select 1`
    await database.pause()
    const query = sql`select 'late' as answer`.execute()
    expect(await Promise.race([query, sleep(300, 'nothing')])).toBe('nothing')
    await database.resume()
    expect((await query)[0]?.answer).toBe('late')
    await sql.end()
  }, 30_000)
})

describe.skipIf(!have)('stopping services', () => {
  test('leaves no process and no folder, also when one was killed and one is paused', async () => {
    const own = await startServices({})
    const { postgres: database, redis, minio } = own.control!
    const pids = [database, redis, minio].flatMap(({ pid }) => (pid ? processTree(pid) : []))
    const folder = database.pid && folderOf(database.pid)
    await database.kill()
    await redis.pause()
    await own.stop()
    expect(runningOf(pids)).toEqual([])
    expect(folder && existsSync(folder)).toBeFalsy()
    expect(await answers(own)).toEqual([false, false, false])
  }, 60_000)
})

describe.skipIf(withoutServices())('the settings for given services', () => {
  test('must be complete', async () => {
    await expect(startServices({ TEST_REDIS_URL: 'redis://127.0.0.1:1' })).rejects.toThrow('TEST_DATABASE_URL')
  })
})

describe.skipIf(!have)('things that a suite takes for itself', () => {
  test('is a database that is gone after drop, with connections open to it', async () => {
    const { url, drop } = await createDatabase()
    const sql = postgres(url, { max: 1 })
    await sql`create table kept (id int)`
    await drop()
    await sql.end()
    await expect(postgresAnswers(url)).rejects.toThrow('does not exist')
  })

  test('is a bucket that is gone after removal, with objects in it', async () => {
    const bucket = createBucketName()
    await removeBucket(bucket)
    const client = await s3Client()
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'a/b', Body: 'x' }))
    await removeBucket(bucket)
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    await removeBucket(bucket)
    client.destroy()
  })
})

/** Writes one thing to each, through connections that are closed again. */
async function write(services: Services): Promise<void> {
  const { sql, redis, s3 } = connect(services)
  await sql`create table if not exists kept (what text)`
  await sql`insert into kept values ('kept')`
  await redis.set('kept', 'kept')
  await s3.send(new CreateBucketCommand({ Bucket: 'kept' })).catch(ignoreOwned)
  await s3.send(new PutObjectCommand({ Bucket: 'kept', Key: 'kept', Body: 'kept' }))
  await sql.end()
  redis.close()
  s3.destroy()
}

async function read(services: Services): Promise<unknown[]> {
  const { sql, redis, s3 } = connect(services)
  const [row] = await sql`select what from kept`
  const value = await redis.get('kept')
  const object = await s3.send(new GetObjectCommand({ Bucket: 'kept', Key: 'kept' }))
  const body = await object.Body?.transformToString()
  await sql.end()
  redis.close()
  s3.destroy()
  return [row?.what, value, body]
}

function connect(services: Services) {
  const { endpoint, region, ...credentials } = services.s3
  return {
    sql: postgres(services.databaseUrl, { max: 1, onnotice: () => {} }),
    redis: new RedisClient(services.redisUrl),
    s3: new S3Client({ endpoint, region, credentials, forcePathStyle: true }),
  }
}

function ignoreOwned(error: Error): void {
  if (error.name !== 'BucketAlreadyOwnedByYou') throw error
}

/** Whether anybody listens on each port. */
function answers(services: Services): Promise<boolean[]> {
  const urls = [services.databaseUrl, services.redisUrl, services.s3.endpoint].map((url) => new URL(url))
  return Promise.all(
    urls.map(async ({ hostname, port }) => {
      try {
        const socket = await Bun.connect({ hostname, port: Number(port), socket: { data() {} } })
        socket.end()
        return true
      } catch {
        return false
      }
    }),
  )
}

/** The temporary folder of services, from the command line of their Postgres. */
function folderOf(postgresPid: number): string {
  const { stdout } = Bun.spawnSync(['ps', '-o', 'args=', '-p', String(postgresPid)])
  const [, folder] = stdout.toString().match(/ -D (\S+)\/postgres\/data /) ?? []
  if (!folder) throw new Error(`No data folder in: ${stdout}`)
  return folder
}
