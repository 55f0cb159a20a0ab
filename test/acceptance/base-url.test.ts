import { afterAll, expect, test } from 'bun:test'
import { request } from 'node:http'
import { type MediaObject, newUser, tokenFor, until } from '../support/http/client.ts'
import { eventsOf, listen } from '../support/http/event-source.ts'
import { multipart } from '../support/http/multipart.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'

const BASE = 'https://media.example.com/under/a/path'
const [plain, based] = await Promise.all([openStage(), openStage({ PUBLIC_BASE_URL: BASE })])
afterAll(() => Promise.all([plain.close(), based.close()]))

/** As a client that claims to reach the service under another name; `fetch` would not. */
function sendAs(
  baseUrl: string,
  path: string,
  { method, headers, body }: { method: string; headers: Record<string, string>; body?: string | Uint8Array },
): Promise<{ status: number; headers: Record<string, unknown>; text: string }> {
  const claims = { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'gopher' }
  return new Promise((resolve, reject) => {
    const sent = request(baseUrl + path, { method, headers: { ...headers, ...claims } }, async (answer) => {
      let text = ''
      for await (const chunk of answer.setEncoding('utf8')) text += chunk
      resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text })
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

async function live(stage: typeof plain) {
  const user = newUser()
  const authorization = `Bearer ${await tokenFor(user)}`
  const source = await listen(stage.baseUrl, { authorization })
  await until(() => expect(source.blocks).not.toEqual([]))
  const form = multipart([{ name: 'file', filename: 'a.jpg', content: await readCorpus('accept/rocket.jpg') }])
  const body = new Uint8Array(await new Response(form.body).arrayBuffer())
  const send = (
    method: string,
    path: string,
    more: { headers?: Record<string, string>; body?: string | Uint8Array } = {},
  ) => sendAs(stage.baseUrl, path, { ...more, method, headers: { authorization, ...more.headers } })
  const uploaded = await send('POST', '/media/upload', { headers: form.headers, body })
  expect(uploaded.status).toBe(201)
  const object: MediaObject = JSON.parse(uploaded.text)
  const json = { 'content-type': 'application/json' }
  await send('PATCH', `/media/${object.id}`, { headers: json, body: '{"originalName":"b.jpg"}' })
  await send('DELETE', `/media/${object.id}`)
  await send('POST', `/media/${object.id}/restore`)
  const presigned = await send('POST', '/media/presign', {
    headers: json,
    body: '{"filename":"c.jpg","fileType":"image/jpeg"}',
  })
  const link = JSON.parse(presigned.text)
  if (stage.inside !== undefined) {
    await fetch(link.uploadUrl, { method: 'PUT', headers: link.headers, body: await readCorpus('accept/rocket.jpg') })
    expect((await send('POST', `/media/${link.id}/complete`)).status).toBe(200)
  }
  const events = await eventsOf(source, stage.inside === undefined ? 4 : 5, 5000)
  source.close()
  return { object, location: uploaded.headers.location, events }
}

// Without a base of its own for events, what is in a request's Host goes to every consumer.
test('no event carries what a request calls the service', async () => {
  const { object, events } = await live(plain)
  expect(JSON.stringify(events)).not.toContain('evil.example')
  expect(events[0]?.data?.url).toBe(`${plain.baseUrl}/media/${object.id}/content`)
  if (plain.inside === undefined) return
  const { inside } = plain
  for (const event of [...inside.heard(object.id), ...(await inside.streamed(object.id))])
    expect(JSON.stringify(event)).not.toContain('evil.example')
})

test('neither events nor answers carry it with PUBLIC_BASE_URL, path and all', async () => {
  const { object, location, events } = await live(based)
  expect(object.url).toBe(`${BASE}/media/${object.id}/content`)
  expect(location).toBe(`${BASE}/media/${object.id}`)
  expect(events[0]?.data?.url).toBe(`${BASE}/media/${object.id}/content`)
  expect(JSON.stringify([object, events])).not.toContain('evil.example')
})

test('the document of the API names the server that clients reach, under its path', async () => {
  const serversAt = async ({ call }: typeof plain) => {
    const { servers } = await (await call('/openapi.json')).json()
    return servers
  }
  expect(await serversAt(based)).toEqual([{ url: BASE }])
  expect(await serversAt(plain)).toEqual([{ url: plain.baseUrl }])
})
