import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  answered,
  createClient,
  expectBytes,
  type MediaObject,
  newUser,
  tokenFor,
  until,
} from '../support/http/client.ts'
import { eventsOf, listen } from '../support/http/event-source.ts'
import { multipart } from '../support/http/multipart.ts'
import { openRawConnection } from '../support/http/raw-connection.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'
import { freePort } from '../support/process/port.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { gateways, haveGateway, startGateway } from '../support/services/gateways.ts'
import type { ServiceControl } from '../support/services/native.ts'

const GATEWAY_SECRET = 'what-only-the-gateway-and-the-service-know'
const stage = await openStage({ GATEWAY_SECRET, TRUSTED_PROXIES: '1' })
/** Knows users by a cookie, and says nothing of roles. */
const auth = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch({ headers }) {
    const user = /\buser=([0-9a-f-]{36})/.exec(headers.get('cookie') ?? '')?.[1]
    return user === undefined
      ? new Response(null, { status: 401 })
      : new Response(null, { headers: { 'x-user-id': user } })
  },
})
afterAll(async () => {
  await stage.close()
  await auth.stop(true)
})

describe.each(gateways.map((name) => ({ name, present: haveGateway(name) })))('behind $name', ({ name, present }) => {
  // HAProxy passes tokens on; the others have asked who is behind a cookie.
  const credentialsOf = async (user: string): Promise<Record<string, string>> =>
    name === 'HAProxy' ? { authorization: `Bearer ${await tokenFor(user)}` } : { cookie: `user=${user}` }
  let folder: Folder
  let control: ServiceControl
  let url = ''
  beforeAll(async () => {
    if (!present) return
    folder = await createFolder()
    const addresses = { media: new URL(stage.baseUrl).host, auth: `127.0.0.1:${auth.port}` }
    control = await startGateway(name, {
      ...addresses,
      folder: folder.path,
      port: await freePort(),
      secret: GATEWAY_SECRET,
    })
    url = control.url
  }, 60_000)
  afterAll(async () => {
    await control?.stop()
    await folder?.remove()
  }, 30_000)
  const call = (path: string, init: Parameters<ReturnType<typeof createClient>['call']>[1] = {}) =>
    createClient(url).call(path, init)

  async function upload(headers: Record<string, string>): Promise<MediaObject> {
    const form = multipart([{ name: 'file', filename: 'a.jpg', content: await readCorpus('accept/rocket.jpg') }])
    const sent = { method: 'POST', body: form.body, headers: { ...form.headers, ...headers } }
    return answered<MediaObject>(201, await call('/media/upload', sent))
  }

  test.skipIf(!present)('uploads, gets and events work', async () => {
    const user = newUser()
    const headers = await credentialsOf(user)
    const source = await listen(url, headers)
    await until(() => expect(source.blocks).not.toEqual([]))
    const { id, userId } = await upload(headers)
    expect(userId).toBe(user)
    expect((await eventsOf(source, 1, 5000)).at(-1)?.data?.id).toBe(id)
    source.close()
    const { signedUrl } = await answered<{ signedUrl: string }>(200, await call(`/media/${id}`, { headers }))
    await expectBytes(await fetch(signedUrl), await readCorpus('accept/rocket.jpg'))
  })

  test.skipIf(!present)('nobody says by a header who they are, not even one who knows the secret', async () => {
    const victim = newUser()
    const { id } = await upload(await credentialsOf(victim))
    const forged = [
      { 'X-User-Id': victim, 'X-Gateway-Secret': GATEWAY_SECRET },
      { 'x-user-id': victim, 'X-USER-ROLE': 'service', 'x-gateway-secret': GATEWAY_SECRET },
    ]
    for (const headers of forged) expect((await call(`/media/${id}`, { headers })).status).toBe(401)
    for (const headers of forged) {
      const own = { ...headers, ...(await credentialsOf(newUser())) }
      expect((await call(`/media/${id}`, { headers: own })).status).toBe(404)
    }
    const twice = `X-User-Id: ${victim}\r\nX-User-Id: ${victim}\r\nX-Gateway-Secret: ${GATEWAY_SECRET}\r\n`
    expect(await rawStatus(`/media/${id}`, `${twice}X-Gateway-Secret: ${GATEWAY_SECRET}\r\n`)).toBe(401)
  })

  test.skipIf(!present)('nothing but /media is reached, however it is spelt', async () => {
    const [credential = '', value = ''] = Object.entries(await credentialsOf(newUser()))[0] ?? []
    for (const path of [
      ...['/', '/metrics', '/openapi.json', '/health/ready', '/mediax', '/media/../metrics', '/media/%2e%2e/metrics'],
      ...['/media/..%2fmetrics', '/media/..\\metrics', '/media\\..\\metrics', '/media/..%5cmetrics', '/./metrics'],
      ...['/media/.%2e/metrics', '//metrics', '/media/x/../../metrics'],
    ]) {
      const status = await rawStatus(path, `${credential}: ${value}\r\n`)
      expect([path, status < 500 && status >= 400]).toEqual([path, true])
    }
  })

  async function rawStatus(path: string, headers: string): Promise<number> {
    const connection = await openRawConnection(url)
    await connection.send(`GET ${path} HTTP/1.1\r\nHost: ${new URL(url).host}\r\nConnection: close\r\n${headers}\r\n`)
    const { status } = await connection.answer()
    connection.destroy()
    return status
  }
})
