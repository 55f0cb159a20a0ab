import { afterAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import {
  answered,
  createClient,
  expectBytes,
  JWT_SECRET,
  newUser,
  type SignedMediaObject,
} from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, runtime, settingsFor } from '../support/process/acceptance.ts'
import { runUpkeep, startService } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'
import { createBucketName, removeBucket } from '../support/services/buckets.ts'
import { createDatabase } from '../support/services/database.ts'
import { services } from '../support/services/shared.ts'

const role = `serving_${crypto.randomUUID().replaceAll('-', '')}`
const cleanups: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const clean of cleanups.reverse()) await clean()
}, 60_000)

describe.skipIf(backend === 'embedded')('a role that may not change the schema', () => {
  test('serves with MIGRATE=false once `bun run migrate` has run, and is told what is missing before', async () => {
    const { owner, serving, env } = await openRoles()
    expect(await failureWith({ ...env, MIGRATE: 'true' })).toMatch(/lacks a privilege.*bun run migrate.*MIGRATE=false/)
    expect(await failureWith(env)).toMatch(
      /too old, and MIGRATE is false: migration 0001_media_objects\.sql is missing; run `bun run migrate`/,
    )

    // It needs the database's settings only, and says once what it did.
    const migrated = await runMigrate({ NODE_ENV: 'production', DATABASE_URL: owner.url })
    expect(migrated).toEqual({ code: 0, output: expect.stringContaining('applied: 0001_media_objects.sql') })
    expect((await runMigrate({ DATABASE_URL: owner.url })).output).toContain('nothing to apply')
    expect(await failureWith(env)).toMatch(/lacks privileges: SELECT on media_migrations; .* `GRANT SELECT/)
    await owner.sql.unsafe(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`)
    expect(await failureWith(env)).toMatch(/lacks privileges: DELETE on media_objects, INSERT on media_objects/)
    await owner.sql.unsafe(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role}`)

    await expect(serving.unsafe('CREATE TABLE mine (x int)')).rejects.toMatchObject({ code: '42501' })
    await servesWith(env)
    // With nothing new to apply the same role is enough where MIGRATE is left as it is.
    await servesWith({ ...env, MIGRATE: '' })

    await owner.sql`INSERT INTO media_migrations (name, checksum) VALUES ('9999_later.sql', 'x')`
    for (const MIGRATE of ['true', 'false'])
      expect(await failureWith({ ...env, MIGRATE })).toMatch(/too new for this version: migration 9999_later\.sql/)
    expect(await runMigrate({ DATABASE_URL: owner.url })).toMatchObject({ code: 1 })
    await owner.sql`DELETE FROM media_migrations WHERE name >= '0016'`
    expect(await failureWith(env)).toMatch(/too old, .*: migration 0016_\w+\.sql is missing; run `bun run migrate`/)
  }, 180_000)
})

test('`bun run migrate` in production asks for DATABASE_URL and makes no embedded database', async () => {
  const { code, output } = await runMigrate({ NODE_ENV: 'production' })
  expect(code).toBe(1)
  expect(output).toContain('DATABASE_URL: expected in production')
})

/** A database of its own, with the superuser's connection, and a role that may only connect and use the schema. */
async function openRoles() {
  const shared = await services()
  const database = await createDatabase()
  const bucket = createBucketName()
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  const password = 'a-password-of-the-serving-role'
  await sql.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD '${password}'; REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
  const url = new URL(database.url)
  url.username = role
  url.password = password
  const serving = postgres(url.href, { max: 1, onnotice: () => {} })
  cleanups.push(async () => {
    await serving.end()
    await sql.unsafe(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    await sql.end()
    await database.drop()
    await removeBucket(bucket)
  })
  const env = { ...settingsFor(shared, url.href, bucket), AUTH_JWT_SECRET: JWT_SECRET, MIGRATE: 'false' }
  return { owner: { sql, url: database.url }, serving, env }
}

async function servesWith(env: Record<string, string>): Promise<void> {
  const service = await startService({ runtime, env })
  try {
    const { get, remove, upload } = createClient(service.baseUrl)
    const [user, rocket] = [newUser(), await readCorpus('accept/rocket.jpg')]
    const { id } = await answered<SignedMediaObject>(201, await upload(user, rocket, { name: 'a.jpg' }))
    await expectBytes(await fetch((await answered<SignedMediaObject>(200, await get(user, id))).signedUrl), rocket)
    expect((await remove(user, id)).status).toBe(204)
    await runUpkeep(env)
    expect(service.logs()).not.toContain('permission denied')
  } finally {
    expect(await service.stop()).toBe(0)
  }
}

/** What a start that fails writes. It may not take as long as the retries of an outage do. */
async function failureWith(env: Record<string, string>): Promise<string> {
  const failure = await startService({ runtime, env }).then(
    async (service) => {
      await service.stop()
      return 'the service started'
    },
    (error: Error) => error.message,
  )
  expect(failure).not.toContain('trying again')
  return failure
}

async function runMigrate(env: Record<string, string>): Promise<{ code: number; output: string }> {
  const child = Bun.spawn([process.execPath, '--no-env-file', 'src/cli/migrate.ts'], {
    cwd: repository,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stderr: 'pipe',
  })
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  return { code: await child.exited, output: out + err }
}
