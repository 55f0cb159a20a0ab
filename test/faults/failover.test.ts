import { expect, test } from 'bun:test'
import postgres from 'postgres'
import { type Client, createClient, expectProblem, JWT_SECRET, newUser, until } from '../support/http/client.ts'
import { lookInside } from '../support/http/inside.ts'
import { settingsFor } from '../support/process/acceptance.ts'
import { readiness } from '../support/process/faults.ts'
import { startProxy } from '../support/process/proxy.ts'
import { acceptanceRun, startService } from '../support/process/service.ts'
import { createBucketName, removeBucket } from '../support/services/buckets.ts'
import { createFolder } from '../support/services/folder.ts'
import { startPostgres, startStandby } from '../support/services/postgres.ts'
import { haveServices, services } from '../support/services/shared.ts'

const BACK_MS = 5000
// Beside what else the machine has to do.
const SLACK_MS = 5000

// Real streaming replication. The primary is demoted with its connections kept; the standby is promoted; its address is
// given to the one, and the other knows both.
test.skipIf(!(await haveServices()))(
  'a database that fails over is used again within seconds, by one address or by a list of hosts, and no event is lost',
  async () => {
    const shared = await services()
    const folder = await createFolder()
    const primary = await startPostgres(folder.path)
    const standby = await startStandby(folder.path, primary.url)
    const [old, young] = [primary.url, standby.url].map((url) => postgres(url, { max: 1, onnotice: () => {} })) as [
      postgres.Sql,
      postgres.Sql,
    ]
    const address = await startProxy(primary.url)
    const bucket = createBucketName()
    const hosts = [primary.url, standby.url].map((url) => new URL(url).host).join(',')
    const list = primary.url.replace(new URL(primary.url).host, hosts)
    const settings = (url: string) => ({ ...settingsFor(shared, url, bucket), AUTH_JWT_SECRET: JWT_SECRET })
    const start = (url: string) => startService({ runtime: acceptanceRun().runtime, env: settings(url) })
    // One after the other: the first one migrates.
    const one = await start(address.url)
    const other = await start(`${list}?target_session_attrs=read-write`)
    const inside = await lookInside(shared, settings(standby.url))
    try {
      await setting(old, `synchronous_standby_names = '*'`)
      const clients = [one, other].map(({ baseUrl }) => createClient(baseUrl))
      const user = newUser()
      const { id } = await (clients[0] ?? expect.unreachable()).uploaded(user)

      await setting(old, 'default_transaction_read_only = on')
      for (const client of clients) {
        await until(async () => expect((await readiness(client)).body).toMatchObject({ database: 'down' }))
        await expectProblem(await client.patch(user, id, { originalName: 'not.jpg' }), 503, 'database_unavailable')
      }
      await young`SELECT pg_promote()`
      address.leadTo(standby.url)
      const promoted = performance.now()
      const changes = await Promise.all(clients.map((client, i) => changed(client, user, id, `${i}.jpg`)))
      expect(performance.now() - promoted).toBeLessThan(BACK_MS + SLACK_MS)
      for (const client of clients)
        await until(async () => expect((await readiness(client)).body).toMatchObject({ status: 'ready' }))
      expect(changes).toEqual([200, 200])
      await until(async () => {
        const seen = new Set((await inside.streamed(id)).map(({ payload }) => payload.seq))
        expect([...seen].sort()).toEqual([1, 2, 3])
        expect(await inside.rowOf(id)).toMatchObject({ outbox: [], event_seq: 3 })
      }, 20_000)
    } finally {
      await inside.close()
      await Promise.all([one.kill(), other.kill()])
      await Promise.all([old.end({ timeout: 1 }), young.end({ timeout: 1 }), address.close()])
      await standby.stop()
      await primary.kill()
      await Promise.all([removeBucket(bucket), folder.remove()])
    }
  },
  120_000,
)

async function setting(sql: postgres.Sql, text: string): Promise<void> {
  await sql.unsafe(`ALTER SYSTEM SET ${text}`)
  await sql`SELECT pg_reload_conf()`
}

/** Changes an object as soon as that is possible; any answer before says that the database is to blame. */
async function changed(client: Client, user: string, id: string, originalName: string): Promise<number> {
  for (;;) {
    const response = await client.patch(user, id, { originalName })
    if (response.status !== 503) return response.status
    await expectProblem(response, 503, 'database_unavailable')
    expect(response.headers.get('retry-after')).not.toBeNull()
    await Bun.sleep(100)
  }
}
