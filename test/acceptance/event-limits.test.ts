import { afterAll, afterEach, describe, expect, test } from 'bun:test'
import { connect } from 'node:net'
import { Redis } from 'ioredis'
import { expectProblem, newUser, tokenFor, until } from '../support/http/client.ts'
import { type EventSource, eventsOf, listen } from '../support/http/event-source.ts'
import { parseMetrics, sumOf } from '../support/http/prometheus.ts'
import { requestHead } from '../support/http/raw-connection.ts'
import { backend, openStage } from '../support/process/acceptance.ts'
import { MB, peakOf, resetPeak, residentOf } from '../support/process/process-memory.ts'

const MOST_STREAMS = 10
const HEARTBEAT_SECONDS = 15

const stage = await openStage()
const { baseUrl, call, env, service, uploaded } = stage
afterAll(stage.close)
let open: EventSource[] = []
afterEach(() => {
  for (const source of open) source.close()
  open = []
})

async function listening(headers: Record<string, string>) {
  const source = await listen(baseUrl, headers)
  open.push(source)
  return source
}
const bearer = async (user: string, claims: Record<string, unknown> = {}) => ({
  authorization: `Bearer ${await tokenFor(user, claims)}`,
})

async function streams(): Promise<number | undefined> {
  return sumOf(parseMetrics(await (await call('/metrics')).text()), 'media_event_streams')
}

test('a caller has at most ten streams open at once, and a place again for each that ends', async () => {
  const user = newUser()
  const sources = []
  for (let i = 0; i < MOST_STREAMS; i += 1) sources.push(await listening(await bearer(user)))
  expect(sources.map(({ status }) => status)).toEqual(Array(MOST_STREAMS).fill(200))
  await expectProblem(await call('/media/events', { as: user }), 429, 'rate_limited')
  // What is not opened takes no place, and what others have open none of theirs.
  expect((await call('/media/events', { as: user, method: 'HEAD' })).status).toBe(200)
  expect((await listening(await bearer(newUser()))).status).toBe(200)
  expect(await streams()).toBe(MOST_STREAMS + 1)
  sources[0]?.close()
  const again = await until(async () => {
    const source = await listening(await bearer(user))
    expect(source.status).toBe(200)
    return source
  })
  const { id } = await uploaded(user)
  for (const source of [again, ...sources.slice(1)]) expect((await eventsOf(source, 1))[0]?.data?.id).toBe(id)
  for (const source of open) source.close()
  await until(async () => expect(await streams()).toBe(0))
})

test('a client that disconnects at any moment leaves no stream open', async () => {
  const { hostname, port } = new URL(baseUrl)
  for (let i = 0; i < 60; i += 1) {
    const socket = connect({ host: hostname, port: Number(port) })
    socket.on('error', () => {})
    socket.write(requestHead('GET /media/events', await bearer(newUser())))
    await Bun.sleep(i % 6)
    socket.destroy()
  }
  await until(async () => expect(await streams()).toBe(0))
})

test('a stream ends when its token does', async () => {
  const user = newUser()
  const soon = Math.floor(Date.now() / 1000) - 2
  // A token is good for five seconds more than it says.
  const source = await listening(await bearer(user, { exp: soon }))
  const lasting = await listening(await bearer(user))
  expect(source.status).toBe(200)
  await until(() => expect(source.ended()).toBe(true), 6000)
  expect(Date.now() / 1000 - soon).toBeWithin(4.9, 7)
  expect(lasting.ended()).toBe(false)
})

test('while nothing happens, a comment and where to resume come every 15 seconds', async () => {
  const source = await listening(await bearer(newUser()))
  await Bun.sleep(HEARTBEAT_SECONDS * 2000 + 2000)
  expect(source.text().match(/^:$/gm)).toHaveLength(3)
  expect(source.events()).toEqual([])
  expect(source.ended()).toBe(false)
}, 60_000)

test('a stream counts as a request that was answered when it began', async () => {
  const user = newUser()
  const source = await listening(await bearer(user))
  const line = await until(() => {
    const found = service
      .logs()
      .split('\n')
      .find((text) => text.includes(user))
    return JSON.parse(found ?? '')
  })
  expect(line).toMatchObject({ route: '/media/events', status: 200, userId: user })
  expect(line.ms).toBeLessThan(2000)
  source.close()
})

describe.skipIf(backend === 'embedded')('a client that does not read', () => {
  const EVENTS = 20_000
  const PAYLOAD = 'x'.repeat(4000)

  test('is dropped, takes no memory, and resumes where it was', async () => {
    const user = newUser()
    const redis = new Redis(env.REDIS_URL ?? '')
    const { hostname, port } = new URL(baseUrl)
    const socket = connect({ host: hostname, port: Number(port) })
    let received = ''
    socket.pause()
    socket.write(requestHead('GET /media/events', await bearer(user)))
    await until(async () => expect(await streams()).toBe(1))
    await Bun.sleep(1000)
    await resetPeak(service.pid)
    const before = await residentOf(service.pid)
    for (let i = 0; i < EVENTS; i += 500) {
      const pipeline = redis.pipeline()
      for (let k = i; k < i + 500; k += 1) {
        const payload = JSON.stringify({ id: String(k), userId: user, padding: PAYLOAD })
        pipeline.xadd('media:events', '*', 'channel', 'photo:updated', 'payload', payload)
      }
      await pipeline.exec()
    }
    await until(async () => expect(await streams()).toBe(0))
    // What was published is as much, and would be twice that in memory.
    expect((await peakOf(service.pid)) - before).toBeLessThan(80 * MB)
    socket.on('data', (chunk) => {
      received += chunk
    })
    socket.resume()
    await until(() => expect(received).toEndWith('\r\n0\r\n\r\n'))
    socket.destroy()
    const ids = [...received.matchAll(/^data: {"id":"(\d+)"/gm)].map(([, id]) => Number(id))
    expect(ids.length).toBeWithin(1, EVENTS)
    expect(ids).toEqual(ids.map((_, i) => i))
    const [, last = ''] = [...received.matchAll(/^id: (\S+)$/gm)].at(-1) ?? []
    const resumed = await listening({ ...(await bearer(user)), 'last-event-id': last })
    const rest = await eventsOf(resumed, EVENTS - ids.length, 20_000)
    expect(rest.map(({ data }) => Number(data?.id))).toEqual(rest.map((_, i) => ids.length + i))
    await redis.quit()
  }, 90_000)
})
