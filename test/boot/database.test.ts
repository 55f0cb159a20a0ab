import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { openDatabase } from '../../src/boot/database.ts'
import { connect } from '../../src/db/connect.ts'
import { freePort } from '../support/process/port.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { createDatabase, type TestDatabase } from '../support/services/database.ts'
import { haveServices } from '../support/services/shared.ts'

const role = `role_${crypto.randomUUID().replaceAll('-', '')}`

describe.skipIf(!(await haveServices()))('the database of the settings', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
    const sql = connect({ url: database.url })
    await sql.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'its password'`)
    await sql.end({ timeout: 1 })
  }, 30_000)
  afterAll(async () => {
    const sql = connect({ url: database.url })
    await sql.unsafe(`DROP ROLE ${role}`)
    await sql.end({ timeout: 1 })
    await database.drop()
  }, 30_000)

  const open = (
    change: (url: URL) => void,
    settings: { databaseConnections?: number; preparedStatements?: boolean } = {},
  ) => {
    const url = new URL(database.url)
    change(url)
    const { databaseConnections, preparedStatements } = settings
    const { log } = createRecordingLog()
    return openDatabase(
      { databaseUrl: url.href, migrate: true, databaseConnections, preparedStatements },
      () => expect.unreachable(),
      log,
    )
  }

  const refused: [what: string, change: (url: URL) => void, sentence: string][] = [
    [
      'a wrong password',
      (url) => (url.password = 'wrong'),
      'DATABASE_URL: the database does not let the user "postgres" in',
    ],
    [
      'an unknown user',
      (url) => (url.username = 'nobody'),
      'DATABASE_URL: the database does not let the user "nobody" in',
    ],
    ['a missing database', (url) => (url.pathname = '/none'), 'DATABASE_URL: there is no database "none"'],
    [
      'an unknown parameter',
      (url) => url.searchParams.set('colour', 'red'),
      'DATABASE_URL: the server refuses a parameter',
    ],
    ['a missing schema', (url) => url.searchParams.set('schema', 'none'), 'DATABASE_URL: the schema does not exist'],
    [
      'a user without rights',
      (url) => Object.assign(url, { username: role, password: 'its password' }),
      'DATABASE_URL: the role lacks a privilege (permission denied for schema public); run `bun run migrate` with a role',
    ],
  ]
  test.each(refused)(
    'with %s is refused at once, in a sentence that names the setting',
    async (_, change, sentence) => {
      const begun = performance.now()
      await expect(open(change)).rejects.toThrow(sentence)
      expect(performance.now() - begun).toBeLessThan(10_000)
    },
  )

  test('is the primary among several hosts, of which others do not answer', async () => {
    const closed = await freePort()
    const { host } = new URL(database.url)
    const opened = await openDatabase(
      {
        databaseUrl: `${database.url.replace(host, `127.0.0.1:${closed},${host}`)}?target_session_attrs=read-write`,
        migrate: true,
        databaseConnections: 3,
        preparedStatements: undefined,
      },
      () => expect.unreachable(),
      createRecordingLog().log,
    )
    expect([...(await opened.sql`SELECT count(*) AS rows FROM media_objects`)]).toEqual([{ rows: 0 }])
    expect(opened.connections).toBe(3)
    await opened.close()
  }, 30_000)

  test('has as many connections as its URL or the setting says, and statements prepared or not', async () => {
    const own = await open((url) => url.searchParams.set('connection_limit', '4'))
    const set = await open((url) => url.searchParams.set('connection_limit', '4'), {
      databaseConnections: 2,
      preparedStatements: false,
    })
    expect([own.connections, set.connections]).toEqual([4, 2])
    const prepared = ({ sql }: typeof own) => sql<{ n: number }[]>`SELECT count(*) AS n FROM pg_prepared_statements`
    await Promise.all([prepared(own), prepared(set)])
    expect((await prepared(set))[0]?.n).toBe(0)
    await Promise.all([own.close(), set.close()])
  }, 30_000)
})
