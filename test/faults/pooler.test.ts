import { expect, test } from 'bun:test'
import { createClient, JWT_SECRET, newUser } from '../support/http/client.ts'
import { settingsFor } from '../support/process/acceptance.ts'
import { acceptanceRun, startService } from '../support/process/service.ts'
import { createBucketName, removeBucket } from '../support/services/buckets.ts'
import { createDatabase } from '../support/services/database.ts'
import { createFolder } from '../support/services/folder.ts'
import { havePgBouncer, pgBouncerCarries, startPgBouncer } from '../support/services/pgbouncer.ts'
import { haveServices, services } from '../support/services/shared.ts'

const present = (await haveServices()) && havePgBouncer()

test.skipIf(!present)(
  'two replicas behind PgBouncer in transaction mode answer every call, and an owner finds every object',
  async () => {
    const folder = await createFolder()
    const database = await createDatabase()
    const pooler = await startPgBouncer(folder.path, database.url, 'transaction')
    const bucket = createBucketName()
    const env = { ...settingsFor(await services(), pooler.url, bucket), AUTH_JWT_SECRET: JWT_SECRET }
    const start = () => startService({ runtime: acceptanceRun().runtime, env })
    const replicas = await Promise.all([start(), start()])
    try {
      const clients = replicas.map(({ baseUrl }) => createClient(baseUrl))
      const user = newUser()
      const lives = Array.from({ length: 24 }, async (_, i) => {
        const [one = expect.unreachable(), other = one] = i % 2 === 0 ? clients : clients.toReversed()
        const { id } = await one.uploaded(user)
        for (let change = 0; change < 3; change++) {
          expect((await other.patch(user, id, { originalName: `${change}.jpg` })).status).toBe(200)
          expect((await one.get(user, id)).status).toBe(200)
        }
        if (i % 3 === 0) expect((await other.remove(user, id)).status).toBe(204)
      })
      await Promise.all(lives)
      for (const client of clients) expect((await client.page(user)).items).toHaveLength(16)
      for (const { logs } of replicas)
        expect(logs().includes('does not carry prepared statements')).toBe(!(await pgBouncerCarries()))
    } finally {
      await Promise.all(replicas.map((service) => service.stop()))
      await pooler.stop()
      await Promise.all([database.drop(), removeBucket(bucket), folder.remove()])
    }
  },
  90_000,
)
