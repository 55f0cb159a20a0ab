import { afterAll, describe, expect, test } from 'bun:test'
import { connect } from '../../src/db/connect.ts'
import { expectOneLine, linesOf, rightSetUp, type WrongSetUp } from '../support/doctor.ts'
import { createDatabase } from '../support/services/database.ts'
import { havePgBouncer, pgBouncerCarries, startPgBouncer } from '../support/services/pgbouncer.ts'

const setUp = await rightSetUp()

describe.skipIf(!setUp.present)('the database', () => {
  // Of a role after those of the database in which it has rights.
  const drops: (() => Promise<void>)[] = []
  afterAll(async () => {
    for (const drop of drops) await drop()
  }, 30_000)
  const changed = (change: (url: URL) => void) => () => {
    const url = new URL(setUp.databaseUrl())
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

  /** A new database, and a role whose only rights in it are given by `change`. */
  const asNewRole = async (change: (role: string) => string, options?: { migrated: boolean }) => {
    const role = `role_${crypto.randomUUID().replaceAll('-', '')}`
    const url = await other(`CREATE ROLE ${role} LOGIN PASSWORD 'a'; ${change(role)}`, options)
    drops.push(async () => {
      const sql = connect({ url: setUp.databaseUrl() })
      await sql.unsafe(`DROP ROLE ${role}`)
      await sql.end({ timeout: 1 })
    })
    return { DATABASE_URL: Object.assign(new URL(url), { username: role, password: 'a' }).href }
  }

  test.each<WrongSetUp>([
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
      () => asNewRole((role) => `GRANT SELECT ON media_migrations TO ${role}`, { migrated: true }),
    ],
    [
      'a role that may not make the schema',
      'the role lacks a privilege (permission denied for schema public); run `bun run migrate` with a role that may',
      () => asNewRole(() => 'SELECT 1'),
    ],
  ])('with %s is named by one line', async (_, line, env) => {
    await expectOneLine(setUp.withoutStore(await env()), line)
  })

  test.skipIf(!havePgBouncer())('behind a pooler is setUp.settings(), and wrong only where a setting is', async () => {
    const pooler = await startPgBouncer(setUp.folder(), setUp.databaseUrl(), 'transaction')
    setUp.ends.push(pooler.stop)
    const pooled = setUp.withoutStore({ DATABASE_URL: pooler.url })
    expect(await linesOf(pooled)).toEqual([])
    const forced = { ...pooled, DATABASE_PREPARED_STATEMENTS: 'true' }
    if (await pgBouncerCarries()) expect(await linesOf(forced)).toEqual([])
    else await expectOneLine(forced, 'wrong database: DATABASE_PREPARED_STATEMENTS: true, but a pooler')
  })
})
