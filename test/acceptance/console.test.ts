import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { request } from 'node:http'
import { answered, type Page, until } from '../support/http/client.ts'
import { createDataDir, openStage, runtime, usualStage } from '../support/process/acceptance.ts'
import { startService } from '../support/process/service.ts'

setDefaultTimeout(60_000)
const cleanups: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const clean of cleanups.reverse()) await clean()
})

type Session = { token: string | null; uploads: string; allowedTypes: string[] }

describe('the console, with no settings', async () => {
  const dataDir = await createDataDir()
  cleanups.push(dataDir.remove)
  const service = await startService({ runtime, env: { DATA_DIR: dataDir.path } })
  cleanups.push(service.stop)
  const { baseUrl } = service
  const { port } = new URL(baseUrl)

  /** As a browser would that has the page open, with headers changed, or left out where null. */
  async function openSession(changed: Record<string, string | null> = {}): Promise<Session> {
    const headers = { host: `127.0.0.1:${port}`, origin: baseUrl, 'sec-fetch-site': 'same-origin', ...changed }
    return JSON.parse(await post(`${baseUrl}/console/session`, headers))
  }

  test('its address is printed', async () => {
    await until(() => expect(service.logs()).toContain(`${baseUrl}/console `))
  })

  test('it signs its visitor in with a token that works', async () => {
    const session = await openSession()
    expect(session).toMatchObject({ uploads: 'tus', allowedTypes: expect.arrayContaining(['image/jpeg']) })
    const listed = await fetch(`${baseUrl}/media`, { headers: { authorization: `Bearer ${session.token}` } })
    expect((await answered<Page>(200, listed)).items).toEqual([])
  })

  test.each(['localhost', '127.0.0.1', '[::1]'])('it does so as %s', async (name) => {
    const host = `${name}:${port}`
    expect((await openSession({ host, origin: `http://${host}` })).token).toBeString()
  })

  test.each<[string, Record<string, string | null>]>([
    ['a name that leads here', { host: 'rebound.example', origin: 'http://rebound.example' }],
    ['a name that begins like ours', { host: 'localhost.example', origin: 'http://localhost.example' }],
    ['an address of the network', { host: '192.168.1.2:8080', origin: 'http://192.168.1.2:8080' }],
    ['a page elsewhere', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
    ['a page on another port of this machine', { origin: 'http://127.0.0.1:3000', 'sec-fetch-site': 'same-site' }],
    ['a sandboxed page', { origin: 'null', 'sec-fetch-site': 'cross-site' }],
    ['no page at all', { origin: null }],
    ['a page through a proxy that changes Host', { origin: 'https://media.example' }],
    ['a proxy', { 'x-forwarded-for': '203.0.113.7' }],
    ['a proxy by its standard header', { forwarded: 'for=203.0.113.7' }],
  ])('it gives no token to %s', async (_name, changed) => {
    expect(await openSession(changed)).toMatchObject({ token: null })
  })

  test('its answers are for this page alone', async () => {
    const answer = await fetch(`${baseUrl}/console/session`, { method: 'POST', headers: { origin: baseUrl } })
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
    expect((await fetch(`${baseUrl}/console/session`)).status).toBe(405)
  })

  test.each(['', '/page.js', '/page.css', '/icon.svg'])(
    '/console%s is served with what keeps it safe',
    async (file) => {
      const answer = await fetch(`${baseUrl}/console${file}`)
      expect(answer.status).toBe(200)
      const etag = answer.headers.get('etag') ?? ''
      expect((await answer.text()).length).toBeGreaterThan(100)
      const policy = answer.headers.get('content-security-policy') ?? ''
      for (const rule of ["default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'"])
        expect(policy).toContain(rule)
      expect(policy).not.toContain('unsafe')
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
      expect(answer.headers.get('referrer-policy')).toBe('no-referrer')
      const again = await fetch(`${baseUrl}/console${file}`, { headers: { 'if-none-match': etag } })
      expect(again.status).toBe(304)
    },
  )
})

describe('the console, where a way to authenticate is set', () => {
  test('is not there', async () => {
    const { call } = await usualStage()
    for (const path of ['/console', '/console/page.js', '/console/session'])
      expect((await call(path, { method: path.endsWith('session') ? 'POST' : 'GET' })).status).toBe(404)
  })

  test('is there with CONSOLE=true, without a token to give, and names the store in its policy', async () => {
    const { call, baseUrl, env, close } = await openStage({ CONSOLE: 'true' })
    cleanups.push(close)
    const policy = (await call('/console')).headers.get('content-security-policy')
    if (env.S3_ENDPOINT) expect(policy).toContain(`connect-src 'self' ${new URL(env.S3_ENDPOINT).origin};`)
    else expect(policy).toContain("connect-src 'self';")
    const answer = await call('/console/session', { method: 'POST', headers: { origin: baseUrl } })
    const uploads = env.S3_ENDPOINT ? 's3' : 'tus'
    expect(await answered<Session>(200, answer)).toMatchObject({ token: null, uploads })
  })
})

/** `fetch` would send a Host of its own. */
function post(url: string, headers: Record<string, string | null>): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== null))
  const sent = request(url, { method: 'POST', headers: given as Record<string, string> }, async (response) => {
    let body = ''
    for await (const chunk of response) body += chunk
    resolve(body)
  })
  sent.on('error', reject).end()
  return promise
}
