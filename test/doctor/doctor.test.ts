import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from '../../src/db/connect.ts'
import { diagnose, type Options } from '../../src/doctor/examine.ts'
import { sentenceOf } from '../../src/finding.ts'
import { JWT_SECRET } from '../support/http/client.ts'
import { settingsFor } from '../support/process/acceptance.ts'
import { freePort } from '../support/process/port.ts'
import { type Alteration, keepsHalves, startAlteredStore } from '../support/services/altered-store.ts'
import { createBucketName, removeBucket } from '../support/services/buckets.ts'
import { createDatabase, type TestDatabase } from '../support/services/database.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { havePgBouncer, pgBouncerCarries, startPgBouncer } from '../support/services/pgbouncer.ts'
import { findRedis, type RedisServer, startRedisServer } from '../support/services/redis.ts'
import { haveServices, services } from '../support/services/shared.ts'
import { findVersitygw, startVersitygw } from '../support/services/versitygw.ts'

setDefaultTimeout(60_000)

type Env = Record<string, string>

/** What the doctor says of a set-up with exactly these settings. */
async function linesOf(env: Env, options: Options = {}): Promise<string[]> {
  const { findings } = await diagnose(env, options)
  return findings.map((finding) => `${finding.severity} ${finding.subject}: ${sentenceOf(finding)}`)
}

async function expectOneLine(env: Env, line: string, options?: Options): Promise<void> {
  const lines = await linesOf(env, options)
  expect([lines.length, lines[0]]).toEqual([1, expect.stringContaining(line)])
}

const ends: (() => unknown)[] = []
let folder: Folder
beforeAll(async () => {
  folder = await createFolder()
})
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end()
  await folder.remove()
}, 60_000)

const present = await haveServices()
let database: TestDatabase
/** A set-up with nothing wrong about it. */
let right: Env = { AUTH_JWT_SECRET: JWT_SECRET }
let bucket: string
if (present) {
  beforeAll(async () => {
    database = await createDatabase({ migrated: true })
    bucket = createBucketName()
    right = {
      ...settingsFor(await services(), database.url, bucket),
      ...right,
      CORS_ORIGINS: 'https://app.example.com,https://www.example.com',
    }
    ends.push(() => Promise.all([database.drop(), removeBucket(bucket)]))
  })
}
/** Without the store, whose probe takes longest. */
const withoutStore = (changed: Env): Env => {
  const { S3_ENDPOINT: _, S3_BUCKET: __, S3_REGION: ___, ...others } = right
  return { ...others, ...changed }
}
const closed = async () => `http://127.0.0.1:${await freePort()}`

describe('the settings, the identity provider and the backup', () => {
  const answers: Record<string, () => Response> = {
    '/keys': () => Response.json({ keys: [{ kty: 'RSA', n: 'AQAB', e: 'AQAB' }] }),
    '/none': () => Response.json({ keys: [] }),
    '/.well-known/openid-configuration': () => Response.json({ issuer: 'https://other.example' }),
    '/backup': () => new Response(null, { headers: { 'last-modified': new Date().toUTCString() } }),
    '/old': () => new Response(null, { headers: { 'last-modified': 'Sun, 01 Nov 2026 00:00:00 GMT' } }),
    '/busy': () => new Response(null, { status: 503 }),
  }
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: ({ url }) => answers[new URL(url).pathname]?.() ?? new Response(null, { status: 404 }),
  })
  ends.push(() => server.stop(true))
  const at = (path: string) => server.url.origin + path
  const alone = { AUTH_JWT_SECRET: JWT_SECRET }
  const marker = async (hoursAgo: number) => {
    const path = join(folder.path, `backup-${hoursAgo}`)
    await Bun.write(path, '')
    const time = Date.now() / 1000 - hoursAgo * 3600
    await utimes(path, time, time)
    return path
  }

  test.each<[what: string, env: () => Env | Promise<Env>]>([
    ['the embedded default', () => ({})],
    ['names that only look like settings', () => ({ HOME: '/root', PATH: '/bin', HOSTS: 'a', POSTGRES_PASSWORD: 'b' })],
    ['a key set', () => ({ AUTH_JWKS_URL: at('/keys') })],
    ['a fresh backup', async () => ({ ...alone, BACKUP_MARKER: await marker(1) })],
    ['a fresh backup at a URL', () => ({ ...alone, BACKUP_MARKER: at('/backup') })],
  ])('say nothing of %s', async (_, env) => {
    expect(await linesOf(await env())).toEqual([])
  })

  test.each<[what: string, line: string, env: () => Env | Promise<Env>]>([
    [
      'a misspelt setting',
      'warning settings: CORS_ORIGIN: is not',
      () => ({ ...alone, CORS_ORIGIN: 'https://a.test' }),
    ],
    [
      'another word for one',
      'DATABASE_URI: is not a setting and',
      () => ({ ...alone, DATABASE_URI: 'postgres://a/b' }),
    ],
    ['a missing key set', 'wrong auth: AUTH_JWKS_URL: ', () => ({ AUTH_JWKS_URL: at('/elsewhere') })],
    ['an empty key set', 'AUTH_JWKS_URL: the key set is empty', () => ({ AUTH_JWKS_URL: at('/none') })],
    ["another issuer's configuration", 'wrong auth: AUTH_ISSUER: ', () => ({ AUTH_ISSUER: at('') })],
    [
      'a provider out of reach',
      'unknown auth: AUTH_JWKS_URL: the keys are not reachable from here',
      async () => ({ AUTH_JWKS_URL: await closed() }),
    ],
    [
      'an old backup',
      'warning backup: BACKUP_MARKER: the last backup ended 30 h ago; BACKUP_MAX_AGE_SECONDS allows 26 h',
      async () => ({ ...alone, BACKUP_MARKER: await marker(30) }),
    ],
    ['no backup', 'BACKUP_MARKER: there is no /none, so no backup', () => ({ ...alone, BACKUP_MARKER: '/none' })],
    ['an old backup at a URL', 'BACKUP_MARKER: the last backup', () => ({ ...alone, BACKUP_MARKER: at('/old') })],
    ['no backup at a URL', 'BACKUP_MARKER: its URL answers 404', () => ({ ...alone, BACKUP_MARKER: at('/none-such') })],
    ['a backup out of reach', 'unknown backup: BACKUP_MARKER', () => ({ ...alone, BACKUP_MARKER: at('/busy') })],
  ])('name %s by one line', async (_, line, env) => expectOneLine(await env(), line))
})

describe.skipIf(!present)('the whole set-up', () => {
  test('is named by no line when it is right', async () => {
    const { findings, lookedAt } = await diagnose(right)
    expect([findings, lookedAt]).toEqual([[], ['settings', 'database', 'store', 'Redis']])
  })

  test("has one line for this machine's clock", async () => {
    const now = () => Date.now() - 3_600_000
    await expectOneLine(right, "clock: this machine's clock is 3600 s behind those of the database, the store, Redis", {
      now,
    })
  })
})

describe.skipIf(!present)('the database', () => {
  // Of a role after those of the database in which it has rights.
  const drops: (() => Promise<void>)[] = []
  afterAll(async () => {
    for (const drop of drops) await drop()
  }, 30_000)
  const changed = (change: (url: URL) => void) => () => {
    const url = new URL(database.url)
    change(url)
    return { DATABASE_URL: url.href }
  }
  const other = async (change: string, options?: { migrated: boolean }) => {
    const own = await createDatabase(options)
    drops.push(own.drop)
    const sql = connect({ url: own.url })
    await sql.unsafe(change)
    await sql.end({ timeout: 1 })
    return own.url
  }

  test.each<[what: string, line: string, env: () => Env | Promise<Env>]>([
    ['a wrong password', 'does not let the user "postgres" in; the password', changed((url) => (url.password = 'a'))],
    ['a missing database', 'there is no database "none"; create it', changed((url) => (url.pathname = '/none'))],
    ['a closed port', 'does not answer as it should; start it', changed((url) => (url.port = '1'))],
    ['TLS that is not there', 'it may offer no TLS', changed((url) => url.searchParams.set('sslmode', 'verify-full'))],
    [
      'a parameter that the service does not support',
      'requirepeer: expected none',
      changed((url) => url.searchParams.set('requirepeer', 'a')),
    ],
    [
      'a server that takes no changes',
      'the database takes no changes, as a standby; name the primary',
      changed((url) => url.searchParams.set('default_transaction_read_only', 'on')),
    ],
    [
      'a schema that is too new',
      'the database is too new for this version: migration 9999_later.sql',
      async () => ({
        DATABASE_URL: await other("INSERT INTO media_migrations (name, checksum) VALUES ('9999_later.sql', 'a')", {
          migrated: true,
        }),
      }),
    ],
    [
      'a schema that nobody brings to this version',
      'the schema is too old, and MIGRATE is false: migration 0001_media_objects.sql is missing; run `bun run migrate`',
      async () => ({ DATABASE_URL: await other('SELECT 1'), MIGRATE: 'false' }),
    ],
    [
      'a role without privileges',
      'the role lacks privileges: ',
      async () => {
        const role = `role_${crypto.randomUUID().replaceAll('-', '')}`
        const url = await other(`CREATE ROLE ${role} LOGIN PASSWORD 'a'; GRANT SELECT ON media_migrations TO ${role}`, {
          migrated: true,
        })
        drops.push(async () => {
          const sql = connect({ url: database.url })
          await sql.unsafe(`DROP ROLE ${role}`)
          await sql.end({ timeout: 1 })
        })
        return { DATABASE_URL: Object.assign(new URL(url), { username: role, password: 'a' }).href }
      },
    ],
  ])('with %s is named by one line', async (_, line, env) => {
    await expectOneLine(withoutStore(await env()), line)
  })

  test.skipIf(!havePgBouncer())('behind a pooler is right, and wrong only where a setting is', async () => {
    const pooler = await startPgBouncer(folder.path, database.url, 'transaction')
    ends.push(pooler.stop)
    const pooled = withoutStore({ DATABASE_URL: pooler.url })
    expect(await linesOf(pooled)).toEqual([])
    const forced = { ...pooled, DATABASE_PREPARED_STATEMENTS: 'true' }
    if (await pgBouncerCarries()) expect(await linesOf(forced)).toEqual([])
    else await expectOneLine(forced, 'wrong database: DATABASE_PREPARED_STATEMENTS: true, but a pooler')
  })
})

describe.skipIf(!present)('the store', () => {
  const altered =
    (alteration: Alteration, setting = 'S3_ENDPOINT') =>
    async () => {
      const { endpoint, stop } = await startAlteredStore(alteration)
      ends.push(stop)
      return { [setting]: endpoint }
    }
  const answering = (status: number, to: (method: string, path: string) => boolean, body = '') =>
    altered({ answer: ({ method, path }) => (to(method, path) ? { status, body } : undefined) })
  const denied = '<Error><Code>AccessDenied</Code></Error>'
  const cdn = (status: Record<string, number>) => () => {
    const server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: ({ url }) => new Response('probe', { status: status[new URL(url).pathname.split('/')[1] ?? ''] ?? 404 }),
    })
    ends.push(() => server.stop(true))
    return { CDN_BASE_URL: server.url.origin }
  }

  test.each<[what: string, line: string, env: () => Env | Promise<Env>]>([
    ['an unknown key', 'AWS_ACCESS_KEY_ID: the store does not know', () => ({ AWS_ACCESS_KEY_ID: 'nobody' })],
    ['a wrong secret', 'AWS_SECRET_ACCESS_KEY: not the secret', () => ({ AWS_SECRET_ACCESS_KEY: 'wrong' })],
    ['a closed port', 'S3_ENDPOINT: the store does not answer', async () => ({ S3_ENDPOINT: await closed() })],
    [
      'a right too few',
      'CopyObject: 403: s3:GetObject with s3:PutObject is needed; add it to the policy',
      answering(403, (method, path) => method === 'PUT' && path.includes('/copy?'), denied),
    ],
    [
      'originals that anybody reads',
      'wrong store: S3_BUCKET: anybody can read private originals',
      answering(200, (method, path) => method === 'GET' && path.endsWith('/source'), 'probe'),
    ],
    [
      'no check of signatures',
      'S3_ENDPOINT: the store does not check signatures',
      answering(200, (method, path) => method === 'GET' && path.includes('/source'), 'probe'),
    ],
    ['half parts that it keeps', 'warning store: S3_ENDPOINT: the store keeps parts', altered({ answer: keepsHalves })],
    ['a CDN that shows all', 'wrong cdn: CDN_BASE_URL: private originals', cdn({ public: 200, media: 200 })],
    ['a CDN that shows nothing', 'wrong cdn: CDN_BASE_URL: a public object is', cdn({ public: 403, media: 403 })],
    [
      'a CDN out of reach',
      'unknown cdn: CDN_BASE_URL: not reachable from here',
      async () => ({ CDN_BASE_URL: await closed() }),
    ],
    [
      'a public endpoint out of reach',
      'unknown store: S3_PUBLIC_ENDPOINT: ',
      async () => ({ S3_PUBLIC_ENDPOINT: await closed() }),
    ],
    [
      'a public endpoint that changes the host name',
      'wrong store: S3_PUBLIC_ENDPOINT: an upload link is answered 403 there',
      altered(
        { rewrite: (asked) => ({ ...asked, headers: new Map([...asked.headers, ['host', 'elsewhere']]) }) },
        'S3_PUBLIC_ENDPOINT',
      ),
    ],
    [
      'a public endpoint that takes Range away',
      'warning store: S3_PUBLIC_ENDPOINT: a request for a range',
      altered(
        {
          rewrite: (asked) => ({ ...asked, headers: new Map([...asked.headers].filter(([name]) => name !== 'range')) }),
        },
        'S3_PUBLIC_ENDPOINT',
      ),
    ],
    [
      'no answer to preflights',
      'warning store: CORS_ORIGINS: the store lets no uploads in from pages of https://app.example.com, https://www.ex',
      answering(403, (method) => method === 'OPTIONS'),
    ],
  ])('with %s is named by one line', async (_, line, env) => {
    await expectOneLine({ ...right, ...(await env()) }, line)
  })

  test('that has no CORS by bucket says so when it is to be mended', async () => {
    const env = { ...right, ...(await answering(403, (method) => method === 'OPTIONS')()) }
    await expectOneLine(env, 'the store did not take CORS by bucket (NotImplemented): set it at the store', {
      fix: true,
    })
  })

  test.skipIf(findVersitygw() === undefined)(
    'that has CORS by bucket is mended, and keeps its other rules',
    async () => {
      const { url, stop } = await startVersitygw(folder.path)
      ends.push(stop)
      const env = { ...right, S3_ENDPOINT: url }
      await expectOneLine(env, 'CORS_ORIGINS: the store lets no uploads in from pages of https://app.example.com')
      const one = { ...env, CORS_ORIGINS: 'https://app.example.com' }
      expect(await linesOf(one, { fix: true })).toEqual([])
      await expectOneLine(env, 'the store lets no uploads in from pages of https://www.example.com; ')
      expect(await linesOf(env, { fix: true })).toEqual([])
      expect(await linesOf(env)).toEqual([])
    },
  )
})

describe.skipIf(!present || findRedis() === undefined)('Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedisServer(folder.path, 'own', { args: ['--appendonly', 'yes', '--appendfsync', 'no'] })
    await server.redis.connect()
    ends.push(server.stop)
  })
  const set =
    (...pairs: [name: string, value: string][]) =>
    async () => {
      for (const [name, value] of pairs) {
        const [[, before = ''] = []] = [(await server.redis.config('GET', name)) as string[]]
        undo.unshift(() => server.redis.config('SET', name, before))
        await server.redis.config('SET', name, value)
      }
      return server.url
    }
  const undo: (() => Promise<unknown>)[] = []

  test.each<[what: string, line: string, url: () => string | Promise<string>]>([
    ['a wrong password', 'Redis does not let the service in', () => (right.REDIS_URL ?? '').replace(/:[^:@]*@/, ':a@')],
    ['a closed port', 'REDIS_URL: Redis does not answer', async () => `redis://127.0.0.1:${await freePort()}`],
    ['a missing database', 'there is no such database', () => `${right.REDIS_URL}/99`],
    ['memory only', 'warning redis: REDIS_URL: Redis keeps the stream of events in memory', set(['appendonly', 'no'])],
    [
      'events that it removes',
      'with maxmemory-policy allkeys-lru Redis removes events',
      set(['maxmemory', '100mb'], ['maxmemory-policy', 'allkeys-lru']),
    ],
    ['no memory left', 'warning redis: REDIS_URL: Redis takes no events: OOM', set(['maxmemory', '1'])],
    [
      'a user with a right too few',
      'the user may not do all that is needed: +publish',
      async () => {
        await server.redis.call('ACL', 'SETUSER', 'less', 'reset', 'on', '>a', '~*', '&*', '+@all', '-publish')
        return server.url.replace('redis://', 'redis://less:a@')
      },
    ],
    [
      'a replica in its place',
      'warning redis: REDIS_URL: names a replica',
      async () => {
        undo.push(() => server.redis.call('REPLICAOF', 'NO', 'ONE'))
        await server.redis.call('REPLICAOF', '127.0.0.1', '1')
        return server.url
      },
    ],
  ])('with %s is named by one line', async (_, line, url) => {
    await expectOneLine(withoutStore({ REDIS_URL: await url() }), line)
    for (const step of undo.splice(0)) await step()
    expect(await linesOf(withoutStore({ REDIS_URL: server.url }))).toEqual([])
  })
})
