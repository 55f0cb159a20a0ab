/** A service that was started while its Redis is down: it stores, and says in its log and its metrics what that means. */
import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { createClient, JWT_SECRET, newUser, until } from '../support/http/client.ts'
import { linesOf } from '../support/http/log-lines.ts'
import { scrape, sumOf } from '../support/http/prometheus.ts'
import { openParts, runtime } from '../support/process/acceptance.ts'
import { freePort } from '../support/process/port.ts'
import { startService } from '../support/process/service.ts'

const parts = await openParts()
const REDIS_URL = `redis://127.0.0.1:${await freePort()}`
const service = await startService({ runtime, env: { ...parts.env, AUTH_JWT_SECRET: JWT_SECRET, REDIS_URL } })
const { id } = await createClient(service.baseUrl).uploaded(newUser())
setDefaultTimeout(60_000)
afterAll(async () => {
  await service.stop()
  await parts.remove()
})

test('an upload has its line while Redis is down, too, and the warning about its events is another', async () => {
  await until(() => {
    const lines = linesOf(service.logs())
    expect(lines).toContainEqual(expect.objectContaining({ msg: 'request', mediaId: id, eventsMs: expect.any(Number) }))
    expect(lines).toContainEqual(expect.objectContaining({ level: 40, msg: expect.stringContaining('stay owed') }))
  })
})

test('metrics say what it means that Redis is down', async () => {
  await until(async () => {
    const families = await scrape(service.baseUrl)
    expect(sumOf(families, 'media_limiter_passed_total')).toBeGreaterThan(0)
    expect(sumOf(families, 'media_dependency_up', { dependency: 'events' })).toBe(0)
    expect(sumOf(families, 'media_dependency_up', { dependency: 'database' })).toBe(1)
    expect(sumOf(families, 'media_dependency_failures_total', { dependency: 'events' })).toBeGreaterThan(0)
    expect(sumOf(families, 'media_dependency_failures_total', { dependency: 'limits' })).toBeGreaterThan(0)
    expect(sumOf(families, 'media_events_owed')).toBe(1)
    expect(sumOf(families, 'media_events_owed_oldest_seconds')).toBeGreaterThan(0)
  })
})
