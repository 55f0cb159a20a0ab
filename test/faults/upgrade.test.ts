import { describe, expect, test } from 'bun:test'
import { $ } from 'bun'
import postgres from 'postgres'
import { answered, createClient, JWT_SECRET, type MediaObject, newUser, until } from '../support/http/client.ts'
import { lookInside } from '../support/http/inside.ts'
import { settingsFor } from '../support/process/acceptance.ts'
import { acceptanceRun, runUpkeep, startService } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'
import { createBucketName, removeBucket } from '../support/services/buckets.ts'
import { createDatabase } from '../support/services/database.ts'
import { createFolder } from '../support/services/folder.ts'
import { haveServices, services } from '../support/services/shared.ts'

/** The last release: its migrations end at 0007, and a table that changes under it makes it store JSON encoded twice. */
const LAST_RELEASE = 'b8acbe5'
const { runtime } = acceptanceRun()
const CLIENTS = 4

/** The code of the last release, with its own packages. */
async function checkOut(folder: string): Promise<string> {
  await $`git -C ${repository} archive ${LAST_RELEASE} src sql patches package.json bun.lock tsconfig.json | tar --extract --directory ${folder}`.quiet()
  await $`${process.execPath} install --frozen-lockfile --production`.cwd(folder).quiet()
  return folder
}

/** On one runtime: what is tried is the same on the other, and the packages of the last release take time to install. */
describe.skipIf(!(await haveServices()) || runtime !== 'bun')('an upgrade beside a running replica', () => {
  test('loses no event and no row, whatever the old replica makes of the changed table', async () => {
    const shared = await services()
    const [database, folder] = await Promise.all([createDatabase(), createFolder()])
    const bucket = createBucketName()
    const env = {
      ...settingsFor(shared, database.url, bucket),
      AUTH_JWT_SECRET: JWT_SECRET,
      RATE_LIMIT_PER_MINUTE: '0',
    }
    const old = await startService({ runtime, env, code: await checkOut(folder.path) })
    const inside = await lookInside(shared, env)
    const sql = postgres(database.url, { max: 1, onnotice: () => {}, connection: { application_name: 'test' } })
    const stored: MediaObject[] = []
    const byYoung: MediaObject[] = []
    let goesOn = true
    const run = async (client: ReturnType<typeof createClient>, kept: MediaObject[] = []) => {
      while (goesOn) {
        const user = newUser()
        const response = await client.upload(user, 'accept/rocket.jpg')
        // Statements of old plans that failed together on one connection cost it its deadline (postgres.js 3.4.9).
        if (response.status === 503) continue
        const object = await answered<MediaObject>(201, response)
        stored.push(object)
        kept.push(object)
        if (stored.length % 3 === 0) expect([204, 503]).toContain((await client.remove(user, object.id)).status)
      }
    }
    const olds = Array.from({ length: CLIENTS }, () => run(createClient(old.baseUrl)))
    await until(() => expect(stored.length).toBeGreaterThan(10), 30_000)

    const young = await startService({ runtime, env })
    const youngs = Array.from({ length: CLIENTS }, () => run(createClient(young.baseUrl), byYoung))
    // Every plan becomes old, at both.
    for (const length of [256, 257, 258]) {
      await sql.unsafe(`ALTER TABLE media_objects ALTER COLUMN original_name TYPE varchar(${length})`)
      const before = stored.length
      await until(() => expect(stored.length).toBeGreaterThan(before + 10), 30_000)
    }
    goesOn = false
    const outcomes = await Promise.allSettled([...olds, ...youngs])
    await old.stop()
    // At least one of each kind, however the race above went.
    const [first, second] = stored
    await sql`UPDATE media_objects SET metadata = to_jsonb(metadata::text) WHERE id = ${first?.id ?? ''} AND jsonb_typeof(metadata) = 'object'`
    await sql`
      UPDATE media_objects SET outbox_due_at = now(), outbox = jsonb_build_array(jsonb_build_object('channel', 'photo:updated', 'payload',
        jsonb_build_object('id', id, 'userId', user_id, 'eventId', gen_random_uuid(), 'seq', event_seq + 1) || to_jsonb('{"visibility":"private"}'::text)))
      WHERE id = ${second?.id ?? ''}`

    await until(async () => {
      const [left] = await sql`SELECT count(*)::int AS owing FROM media_objects WHERE outbox <> '[]'`
      expect(left).toEqual({ owing: 0 })
    }, 60_000)
    // The old replica has sent some that it had corrupted as they were.
    const heard = await Promise.all(byYoung.map(async ({ id }) => (await inside.streamed(id))[0]?.channel))
    expect(heard.filter((channel) => channel !== 'photo:uploaded')).toEqual([])
    // Twice: what was mended in one look has the next one begin anew.
    for (const _ of [1, 2]) await runUpkeep(env)
    const [shapes] = await sql`
      SELECT count(*) FILTER (WHERE NOT media_has_shapes(metadata, renditions, outbox))::int AS wrong,
        count(*) FILTER (WHERE status = 'active' AND metadata ->> 'width' IS DISTINCT FROM '640')::int AS without,
        (SELECT convalidated FROM pg_constraint WHERE conname = 'media_objects_shapes') AS enforced
      FROM media_objects`
    expect(shapes).toEqual({ wrong: 0, without: 0, enforced: true })
    expect(outcomes.slice(CLIENTS).filter(({ status }) => status === 'rejected')).toEqual([])

    await Promise.all([young.stop(), inside.close(), sql.end()])
    await Promise.all([database.drop(), removeBucket(bucket), folder.remove()])
  }, 180_000)
})
