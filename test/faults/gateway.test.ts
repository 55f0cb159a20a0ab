import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { followStream, type StreamReader } from '../soak/announced.ts'
import type { Wish } from '../soak/load.ts'
import { createReplica, type Replica } from '../soak/replica.ts'
import { comeToRest, lookAt, runCommand } from '../soak/rest.ts'
import { judge } from '../soak/verdict.ts'
import {
  answered,
  createClient,
  expectProblem,
  JWT_SECRET,
  type MediaObject,
  newUser,
  tokenFor,
  until,
} from '../support/http/client.ts'
import { type EventSource, eventsOf, listen } from '../support/http/event-source.ts'
import { startGatewayLoad } from '../support/http/gateway-load.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { hostilePictures } from '../support/pictures/hostile/hostile.ts'
import { settingsFor } from '../support/process/acceptance.ts'
import { acceptanceRun } from '../support/process/service.ts'
import { createBucketName, removeBucket } from '../support/services/buckets.ts'
import { createDatabase, type TestDatabase } from '../support/services/database.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { haveNginx, startNginx } from '../support/services/nginx.ts'
import { haveServices, services } from '../support/services/shared.ts'

// As in the soak: longer than an attempt may take.
const PENDING_SECONDS = 18
// What the gateway waits for a replica; half of what it is set up with, and twice the pause between heartbeats.
const SILENCE_SECONDS = 30

/** Tried: with `proxy_next_upstream off` clients see 502 to GET and DELETE. */
describe.skipIf(!(haveNginx() && (await haveServices())))('three replicas behind the gateway', () => {
  let folder: Folder
  let database: TestDatabase
  let env: Record<string, string>
  let replicas: Replica[]
  let gateway: Awaited<ReturnType<typeof startNginx>>
  let stream: StreamReader
  const wishes: Wish[] = []

  beforeAll(async () => {
    const { runtime } = acceptanceRun()
    const shared = await services()
    folder = await createFolder()
    database = await createDatabase()
    env = {
      ...settingsFor(shared, database.url, createBucketName()),
      // A keyspace of its own: other tests use the stream of the same name, this one's on the other runtime among them.
      REDIS_URL: `${shared.redisUrl}/${runtime === 'bun' ? 8 : 9}`,
      AUTH_JWT_SECRET: JWT_SECRET,
      TRUSTED_PROXIES: '1',
      PENDING_SECONDS: String(PENDING_SECONDS),
      RETENTION_SECONDS: '5',
      // What takes longer is as harmful here, and four decodes of it would take minutes of CPU.
      DECODER_CPU_SECONDS: '2',
    }
    await emptyKeyspace()
    const started = await Promise.all(Array.from({ length: 3 }, () => createReplica(runtime, env)))
    await Promise.all(started.map((replica) => replica.untilReady()))
    replicas = started
    gateway = await startNginx(
      folder.path,
      replicas.map(({ baseUrl }) => baseUrl),
      [['proxy_read_timeout    60s;', `proxy_read_timeout ${SILENCE_SECONDS}s;`]],
    )
    stream = followStream(env.REDIS_URL ?? '')
  }, 60_000)

  afterAll(async () => {
    await stream?.stop()
    await gateway?.stop()
    await Promise.all((replicas ?? []).map((replica) => replica.kill()))
    if (env !== undefined) {
      await emptyKeyspace()
      await removeBucket(env.S3_BUCKET ?? '')
    }
    await database?.drop()
    await folder?.remove()
  }, 60_000)

  async function emptyKeyspace(): Promise<void> {
    const redis = new Redis(env.REDIS_URL ?? '')
    await redis.flushdb()
    redis.disconnect()
  }

  test('are reached under /media only', async () => {
    const { call } = createClient(gateway.url)
    for (const path of ['/', '/health/ready', '/openapi.json', '/docs', '/metrics', '/media/../metrics', '/mediax'])
      expect([path, (await call(path)).status]).toEqual([path, 404])
    await expectProblem(await call('/media'), 401, 'token_missing')
  })

  test('pass events on as they come, whichever of them they happen at', async () => {
    const user = newUser()
    const { upload } = createClient(gateway.url)
    const picture = await readCorpus('accept/rocket.jpg')
    const sha256 = createHash('sha256').update(picture).digest('hex')
    const store = async () => {
      const name = `heard-${wishes.length}.jpg`
      const { id } = await answered<MediaObject>(201, await upload(user, picture, { name }))
      wishes.push({ user, name, sha256, once: true, id, state: 'active', renamed: [] })
      return id
    }
    const sources: EventSource[] = []
    for (let i = 0; i < 4; i += 1) {
      sources.push(await listen(gateway.url, { authorization: `Bearer ${await tokenFor(user)}` }))
      await until(() => expect(sources[i]?.blocks).not.toEqual([]))
    }
    for (const count of [1, 2, 3]) {
      const id = await store()
      for (const source of sources) expect((await eventsOf(source, count, 2000)).at(-1)?.data?.id).toBe(id)
    }
    // Only what the service sends meanwhile keeps a stream that no event comes on.
    await sleep((SILENCE_SECONDS + 5) * 1000)
    expect(sources.map(({ ended }) => ended())).toEqual(sources.map(() => false))
    const id = await store()
    for (const source of sources) expect((await eventsOf(source, 4, 2000)).at(-1)?.data?.id).toBe(id)
    for (const source of sources) source.close()
  }, 90_000)

  test.each(['SIGKILL', 'SIGTERM'] as const)(
    'hide that one of them gets %s under load',
    async (signal) => {
      const [replica] = replicas
      if (replica === undefined) throw new Error('no replicas')
      const load = await startGatewayLoad(gateway.url)
      await sleep(1500)
      if (signal === 'SIGTERM') expect(await replica.stop()).toBe(0)
      else {
        // So that it dies with requests of every kind.
        replica.pause()
        load.burst(12)
        await sleep(300)
        await replica.kill()
      }
      const before = stored(load.wishes)
      await sleep(1500)
      const without = stored(load.wishes) - before
      await replica.untilReady()
      await sleep(1000)
      await load.stop()
      wishes.push(...load.wishes)
      console.log(`${signal}: ${stored(load.wishes)} stored, ${load.repeated()} requests sent again by clients`)
      expect(load.faults).toEqual([])
      expect(stored(load.wishes)).toBe(load.wishes.length)
      expect(without).toBeGreaterThan(0)
      if (signal === 'SIGKILL') expect(load.repeated()).toBeGreaterThan(0)
      // The gateway has asked a second one where the first was gone.
      expect(await Bun.file(gateway.log).text()).toContain(`"${new URL(replica.baseUrl).host}, `)
    },
    60_000,
  )

  test('answer every GET of /content, also while one of them is replaced', async () => {
    const [replica] = replicas
    if (replica === undefined) throw new Error('no replicas')
    const { call } = createClient(gateway.url)
    const { user, id } = await keep(await readCorpus('accept/rocket.jpg'))
    const statuses = new Map<number, number>()
    let replacing = true
    const look = async () => {
      while (replacing) {
        const { status } = await call(`/media/${id}/content`, { as: user })
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
    }
    const looking = Array.from({ length: 6 }, look)
    await until(() => expect(statuses.get(302)).toBeGreaterThan(20), 30_000)
    expect(await replica.stop()).toBe(0)
    const seen = statuses.get(302) ?? 0
    await until(() => expect(statuses.get(302)).toBeGreaterThan(seen + 60), 30_000)
    await replica.untilReady()
    replacing = false
    await Promise.all(looking)
    expect([...statuses.keys()]).toEqual([302])
    // Some were tried at the one that was gone, and at one more.
    expect(await triesOfContent(id)).toContain(2)
  }, 60_000)

  test('outlive a picture that unpacks to a gigabyte, and are tried two at most for one request', async () => {
    const texts = hostilePictures().find(({ name }) => name.startsWith('PNG of 120 texts'))
    if (texts === undefined) throw new Error('no such picture')
    const { call } = createClient(gateway.url)
    const before = replicas.map((replica) => replica.pid())
    const { user, id } = await keep(texts.make(), texts.mimeType)
    const asked = ['', '?w=64', '?w=320', '?w=640']
    const answers = await Promise.all(asked.map((query) => call(`/media/${id}/content${query}`, { as: user })))
    // Whatever a decoder makes of it: the service itself has answered.
    for (const { status } of answers) expect([302, 422, 503]).toContain(status)
    expect(answers[0]?.status).toBe(302)
    for (const replica of replicas) expect((await fetch(`${replica.baseUrl}/health/ready`)).status).toBe(200)
    expect(replicas.map((replica) => replica.pid())).toEqual(before)
    expect(Math.max(...(await triesOfContent(id)))).toBeLessThanOrEqual(2)
  }, 60_000)

  /** Stores a picture through the gateway. */
  async function keep(bytes: Uint8Array<ArrayBuffer>, type = 'image/jpeg'): Promise<{ user: string; id: string }> {
    const user = newUser()
    const name = `${crypto.randomUUID()}.bin`
    const { id } = await answered<MediaObject>(201, await createClient(gateway.url).upload(user, bytes, { name, type }))
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    wishes.push({ user, name, sha256, once: true, id, state: 'active', renamed: [] })
    return { user, id }
  }

  /** At how many replicas the gateway has tried each request for these bytes. */
  async function triesOfContent(id: string): Promise<number[]> {
    const lines = (await Bun.file(gateway.log).text()).trim().split('\n')
    const logged: { path: string; upstream: string }[] = lines.map((line) => JSON.parse(line))
    return logged
      .filter(({ path }) => path === `/media/${id}/content`)
      .map(({ upstream }) => upstream.split(', ').length)
  }

  test('lose nothing, announce everything, and leave nothing behind', async () => {
    expect(wishes.length).toBeGreaterThan(20)
    // Younger bytes may have their row on its way, as far as upkeep can know.
    await sleep((PENDING_SECONDS + 1) * 1000)
    expect(await comeToRest(env)).toEqual([])
    await stream.stop()
    expect(judge(wishes, stream.events, await lookAt(env))).toEqual([])
    expect(await runCommand('reconcile', env)).toEqual([])
    expect(replicas.flatMap(({ faults }) => faults)).toEqual([])
  }, 90_000)
})

function stored(wishes: readonly Wish[]): number {
  return wishes.filter(({ id }) => id !== undefined).length
}
