import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { until } from '../support/clock/until.ts'
import {
  type Answer,
  ask,
  type From,
  type SlowClients,
  slowBody,
  startSlowClients,
} from '../support/http/slow-clients.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { haveNginx, startNginx } from '../support/services/nginx.ts'

setDefaultTimeout(60_000)

const ATTACKERS = 600
// All that the gateway takes at once, from everybody.
const PLACES = 512
const PROMPTLY_MS = 3000
const [attacker, other]: [From, From] = [{ address: '127.0.0.1' }, { address: '127.0.0.2' }]

describe.skipIf(!haveNginx())('the gateway', () => {
  let folder: Folder
  let replica: Bun.Server<undefined>
  let gateway: Awaited<ReturnType<typeof startNginx>>
  let clients: SlowClients[]

  beforeEach(async () => {
    clients = []
    folder = await createFolder()
    replica = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: async (request) => Response.json({ bytes: (await request.arrayBuffer()).byteLength }),
    })
  })

  afterEach(async () => {
    for (const slow of clients) slow.end()
    await gateway?.stop()
    await replica.stop(true)
    await folder.remove()
  })

  async function start(changes: [line: string, changed: string][] = []): Promise<void> {
    gateway = await startNginx(folder.path, [replica.url.href], changes)
  }

  function attack(...begins: Parameters<typeof startSlowClients>[1]): SlowClients {
    const slow = startSlowClients(gateway.url, begins)
    clients.push(slow)
    return slow
  }

  async function expectServed(from: From, path: string, bodyBytes?: number): Promise<void> {
    const { status, milliseconds } = await ask(gateway.url, from, path, bodyBytes)
    expect([path, from, status]).toEqual([path, from, 200])
    expect(milliseconds).toBeLessThan(PROMPTLY_MS)
  }

  test('serves others while one address sends hundreds of slow files, and tells that address to come later', async () => {
    await start()
    const slow = attack(...many(ATTACKERS, () => slowBody('/media/upload', attacker)))
    await until(() => slow.statuses().length >= ATTACKERS - PLACES)
    for (const path of ['/media/upload', '/media/tus', '/media/presign', '/media/an-id/complete'])
      await expectServed(other, path, 1000)
    for (const path of ['/media', '/media/an-id/content']) await expectServed(attacker, path)
    // What is not a file has places of its own, at that address, too.
    await expectServed(attacker, '/media/presign', 1000)
    expectOverloaded(await ask(gateway.url, attacker, '/media/upload', 1000))
    expect(new Set(slow.statuses())).toEqual(new Set([503]))
  })

  test('serves others while one address sends JSON slowly', async () => {
    await start()
    const slow = attack(...many(ATTACKERS, () => slowBody('/media/presign', attacker)))
    await until(() => slow.statuses().length >= ATTACKERS - PLACES)
    for (const path of ['/media/upload', '/media/presign']) await expectServed(other, path, 1000)
    await expectServed(attacker, '/media/upload', 1000)
    expectOverloaded(await ask(gateway.url, attacker, '/media/presign', 1000))
  })

  test('closes silent sockets and those whose header never ends, and serves others meanwhile', async () => {
    await start()
    const slow = attack(
      ...many(ATTACKERS, () => ({ from: attacker, text: '' })),
      ...many(ATTACKERS, () => ({ from: attacker, text: 'POST /media/upload HTTP/1.1\r\nX-Slow: ' })),
    )
    await until(() => slow.connected() === 2 * ATTACKERS)
    await expectServed(other, '/media')
    await expectServed(other, '/media/upload', 1000)
    await expectServed(attacker, '/media')
    // Above client_header_timeout, well below what is usual.
    const deadline = Date.now() + 10_000
    while (slow.connected() > 0 && Date.now() < deadline) {
      await expectServed(other, '/media')
      await Bun.sleep(200)
    }
    expect(slow.connected()).toBe(0)
  })

  test('carries a request for bytes that ends its replica to one more, and not to all', async () => {
    let ended = 0
    const servers = many(3, () =>
      createServer((socket) => {
        socket.on('error', () => {})
        socket.once('data', () => {
          ended += 1
          socket.destroy()
        })
      }),
    )
    const listening = servers.map(async (server) => {
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const address = server.address()
      return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
    })
    try {
      gateway = await startNginx(folder.path, await Promise.all(listening))
      expect((await ask(gateway.url, other, '/media/an-id/content?w=640')).status).toBe(502)
      expect(ended).toBe(2)
    } finally {
      for (const server of servers) server.close()
    }
  })

  test('behind another proxy counts the addresses that it names, IPv6 by /64, and not the networks that are exempt', async () => {
    await start([
      ['# 203.0.113.7/32 1;', '203.0.113.7/32 1;'],
      ['# set_real_ip_from 10.0.0.0/8;', 'set_real_ip_from 127.0.0.0/8;'],
      ['# real_ip_header   X-Forwarded-For;', 'real_ip_header X-Forwarded-For;'],
    ])
    const as = (forwardedFor: string): From => ({ forwardedFor })
    const begin = (forwardedFor: string) => slowBody('/media/upload', as(forwardedFor))
    const slow = attack(
      ...many(64, (at) => begin(`2001:db8:1:2:${at.toString(16)}::1`)),
      ...many(64, () => begin('198.51.100.1')),
      ...many(64, () => begin('::ffff:198.51.100.3')),
      ...many(64, () => begin('203.0.113.7')),
    )
    await until(() => slow.statuses().length >= 3 * 32)
    for (const address of ['2001:db8:1:2:ffff::1', '198.51.100.1', '::ffff:198.51.100.3'])
      expectOverloaded(await ask(gateway.url, as(address), '/media/upload', 1000))
    for (const address of ['2001:db8:1:3::1', '198.51.100.2', '::ffff:198.51.100.4', '203.0.113.7'])
      await expectServed(as(address), '/media/upload', 1000)
  })
})

function many<T>(count: number, make: (at: number) => T): T[] {
  return Array.from({ length: count }, (_, at) => make(at))
}

function expectOverloaded({ status, head, text, milliseconds }: Answer): void {
  expect(status).toBe(503)
  expect(head).toContain('Content-Type: application/problem+json')
  expect(head).toMatch(/^Retry-After: \d+\r?$/m)
  expect(JSON.parse(text)).toMatchObject({ status: 503, code: 'overloaded' })
  expect(milliseconds).toBeLessThan(PROMPTLY_MS)
}
