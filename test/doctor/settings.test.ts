import { describe, expect, test } from 'bun:test'
import { utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { diagnose } from '../../src/doctor/examine.ts'
import { closedUrl, type Env, expectOneLine, linesOf, rightSetUp, type WrongSetUp } from '../support/doctor.ts'
import { JWT_SECRET } from '../support/http/client.ts'

const setUp = await rightSetUp()

describe.skipIf(!setUp.present)('replicas without a secret that they share', () => {
  test('are named by one line', async () => {
    const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AUTH_JWT_SECRET: _, ...others } = setUp.settings()
    const url = new URL(setUp.databaseUrl())
    // Where the SDK and the database's client find secrets that are no settings.
    const given = { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, PGPASSWORD: decodeURIComponent(url.password) }
    const before = Object.keys(given).map((name) => [name, process.env[name]] as const)
    const keys = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => Response.json({ keys: [{ kty: 'RSA' }] }) })
    setUp.ends.push(() => keys.stop(true))
    url.password = ''
    Object.assign(process.env, given)
    try {
      const env = { ...others, DATABASE_URL: url.href, AUTH_JWKS_URL: keys.url.href }
      await expectOneLine(env, 'warning settings: LINK_SECRET: not set, so other replicas do not accept links')
      expect(await linesOf({ ...env, LINK_SECRET: '0'.repeat(32) })).toEqual([])
    } finally {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
    }
  })
})

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
  setUp.ends.push(() => server.stop(true))
  const at = (path: string) => server.url.origin + path
  const alone = { AUTH_JWT_SECRET: JWT_SECRET }
  const marker = async (hoursAgo: number) => {
    const path = join(setUp.folder(), `backup-${hoursAgo}`)
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

  test.each<WrongSetUp>([
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
      async () => ({ AUTH_JWKS_URL: await closedUrl() }),
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

describe.skipIf(!setUp.present)('the whole set-up', () => {
  test('is named by no line when it is right', async () => {
    const { findings, lookedAt } = await diagnose(setUp.settings())
    expect([findings, lookedAt]).toEqual([[], ['settings', 'database', 'store', 'Redis']])
  })

  test("has one line for this machine's clock", async () => {
    const now = () => Date.now() - 3_600_000
    await expectOneLine(
      setUp.settings(),
      "clock: this machine's clock is 3600 s behind those of the database, the store, Redis",
      {
        now,
      },
    )
  })
})
