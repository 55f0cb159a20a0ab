import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { answered, type Client, createClient, expectProblem, newUser } from '../support/http/client.ts'
import { openStage, runtime } from '../support/process/acceptance.ts'
import { type RunningService, startService } from '../support/process/service.ts'

const LIMIT = 5
const stage = await openStage({ RATE_LIMIT_PER_MINUTE: String(LIMIT) })
afterAll(stage.close)

const list = ({ call }: Client, as?: string, headers: Record<string, string> = {}) =>
  call('/media', { ...(as !== undefined && { as }), headers })

/** Some of it may be used up already: other tests share the address, and Redis. */
async function useUp(client: Client, headers: Record<string, string> = {}): Promise<void> {
  for (let i = 0; i < LIMIT; i++) await list(client, undefined, headers)
}

describe('a service with RATE_LIMIT_PER_MINUTE', () => {
  test('a caller is told how many requests are left, and gets 429 for one more; nobody else does', async () => {
    const [greedy, other] = [newUser(), newUser()]
    for (let left = LIMIT - 1; left >= 0; left--) {
      const { headers } = await list(stage, greedy)
      expect(headers.get('ratelimit-policy')).toBe(`"default";q=${LIMIT};w=60`)
      expect(headers.get('ratelimit')).toMatch(new RegExp(`^"default";r=${left};t=\\d+$`))
    }
    const refused = await list(stage, greedy)
    expect(Number(refused.headers.get('retry-after'))).toBeWithin(1, 61)
    await expectProblem(refused, 429, 'rate_limited')
    await expectProblem(await stage.upload(greedy, 'accept/rocket.jpg'), 429, 'rate_limited')
    expect((await list(stage, other)).status).toBe(200)
  })

  test('a stranger counts for their address, which hurts no caller from there; X-Forwarded-For is not believed', async () => {
    await useUp(stage)
    await expectProblem(await list(stage, undefined, { 'x-forwarded-for': '198.51.100.7' }), 429, 'rate_limited')
    await expectProblem(await list(stage, undefined, { authorization: 'Bearer nonsense' }), 429, 'rate_limited')
    expect((await list(stage, newUser())).status).toBe(200)
  })

  test('health is not limited', async () => {
    for (let i = 0; i <= LIMIT; i++) await answered(200, await stage.call('/health/live'))
  })
})

describe.skipIf(stage.inside === undefined)('behind a proxy, with TRUSTED_PROXIES', () => {
  let service: RunningService
  let behind: Client
  beforeAll(async () => {
    service = await startService({ runtime, env: { ...stage.env, TRUSTED_PROXIES: '1' } })
    behind = createClient(service.baseUrl)
  })
  afterAll(() => service.stop())

  test('the address is the one that the proxy saw, whatever the client put before it', async () => {
    const network = `10.${crypto.getRandomValues(new Uint8Array(2)).join('.')}`
    const from = (address: string, before = '203.0.113.9') => ({ 'x-forwarded-for': `${before}, ${address}` })
    await useUp(behind, from(`${network}.1`))
    const again = await list(behind, undefined, from(`${network}.1`, '192.0.2.1'))
    await expectProblem(again, 429, 'rate_limited')
    await expectProblem(await list(behind, undefined, from(`${network}.2`)), 401, 'token_missing')
  })

  test('an IPv6 address counts as its /64 network', async () => {
    const network = `2001:db8:${crypto.getRandomValues(new Uint16Array(1))[0]?.toString(16)}:1`
    await useUp(behind, { 'x-forwarded-for': `${network}::1` })
    await expectProblem(await list(behind, undefined, { 'x-forwarded-for': `${network}::2` }), 429, 'rate_limited')
  })
})
