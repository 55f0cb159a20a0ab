import { afterAll, describe, expect, test } from 'bun:test'
import { type MediaObject, newUser, tokenFor, until } from '../support/http/client.ts'
import { type EventSource, listen } from '../support/http/event-source.ts'
import { multipart } from '../support/http/multipart.ts'
import { openRawConnection, requestHead } from '../support/http/raw-connection.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'

const stages = await Promise.all([openStage(), openStage(), openStage(), openStage()])
const [busy, stuck, idle, heard] = stages
afterAll(async () => {
  for (const { close } of stages) await close()
})

const { body, headers } = multipart([
  { name: 'file', filename: 'rocket.jpg', content: await readCorpus('accept/rocket.jpg') },
])

describe.concurrent('SIGTERM', () => {
  test('lets a slow upload finish, turns readiness to 503 meanwhile, and ends the process with 0', async () => {
    const { baseUrl, call, inside, service } = busy
    const user = newUser()
    const upload = await beginUpload(baseUrl, user)
    const idleConnection = await openRawConnection(baseUrl)
    const signalled = Date.now()
    const exit = service.stop()
    await until(async () => {
      const response = await call('/health/ready')
      expect([response.status, await response.json()]).toMatchObject([503, { status: 'stopping' }])
    })
    expect((await call('/health/live')).status).toBe(200)
    for (let at = HALF; at < body.length; at += 10_000) {
      await upload.send(body.subarray(at, at + 10_000))
      await Bun.sleep(20)
    }
    const answer = await upload.answer()
    const object: MediaObject = JSON.parse(answer.body)
    expect([answer.status, object.userId]).toEqual([201, user])
    expect(await exit).toBe(0)
    expect(Date.now() - signalled).toBeLessThan(10_000)
    idleConnection.destroy()
    upload.destroy()
    if (inside === undefined) return
    expect(await inside.rowOf(object.id)).toMatchObject({ status: 'active' })
    expect((await inside.streamed(object.id)).map(({ channel }) => channel)).toEqual(['photo:uploaded'])
  })

  test('ends the process within 10 seconds though an upload never ends', async () => {
    const upload = await beginUpload(stuck.baseUrl, newUser())
    const signalled = Date.now()
    expect(await stuck.service.stop()).toBe(0)
    expect(Date.now() - signalled).toBeLessThan(10_000)
    upload.destroy()
  })

  test('ends streams of events at once, so that the process is not held by them', async () => {
    const sources: EventSource[] = []
    for (let i = 0; i < 5; i += 1) {
      sources.push(await listen(heard.baseUrl, { authorization: `Bearer ${await tokenFor(newUser())}` }))
      await until(() => expect(sources[i]?.blocks).not.toEqual([]))
    }
    const signalled = Date.now()
    const exit = heard.service.stop()
    await Promise.all(sources.map(({ over }) => over))
    expect(sources.map(({ ended }) => ended())).toEqual(sources.map(() => true))
    expect(await exit).toBe(0)
    expect(Date.now() - signalled).toBeLessThan(3_000)
  })

  test('ends an idle process at once', async () => {
    const signalled = Date.now()
    expect(await idle.service.stop()).toBe(0)
    expect(Date.now() - signalled).toBeLessThan(3_000)
  })
})

const HALF = Math.floor(body.length / 2)

/** A connection with half an upload on it that has reached the service. */
async function beginUpload(url: string, user: string) {
  const connection = await openRawConnection(url)
  const authorization = `Bearer ${await tokenFor(user)}`
  const head = { ...headers, authorization, 'content-length': String(body.length) }
  await connection.send(requestHead('POST /media/upload', head))
  await connection.send(body.subarray(0, HALF))
  // Whatever came before this request has been seen once it is answered.
  for (let i = 0; i < 5; i += 1) await fetch(`${url}/health/ready`).then((response) => response.text())
  return connection
}
