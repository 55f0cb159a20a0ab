import { afterAll, describe, expect, test } from 'bun:test'
import { POOL_CONNECTIONS } from '../../src/db/connect.ts'
import { newUser, until } from '../support/http/client.ts'
import { type Family, scrape, sumOf } from '../support/http/prometheus.ts'
import { openRawConnection, requestHead } from '../support/http/raw-connection.ts'
import { expectNoSecrets } from '../support/http/secrets.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, openStage } from '../support/process/acceptance.ts'

const stage = await openStage({ PENDING_SECONDS: '2', RATE_LIMIT_PER_MINUTE: '1000' })
const { baseUrl, call, env, presign, remove, upload, uploaded, close } = stage
afterAll(close)

const REQUESTS = 'media_http_request_duration_seconds'
const count = (families: Family[], labels: Record<string, string>) => sumOf(families, `${REQUESTS}_count`, labels) ?? 0

describe('/metrics', () => {
  test('follows the conventions of Prometheus for names and units', async () => {
    const families = await scrape(baseUrl)
    expect(new Set(families.map(({ name }) => name)).size).toBe(families.length)
    for (const { name, help, type } of families) {
      expect(name).toMatch(/^(media|process)_[a-z_]+$/)
      expect(help).toMatch(/\S.*\.$/)
      expect(name.endsWith('_total')).toBe(type === 'counter')
      if (type === 'histogram') expect(name).toEndWith('_seconds')
      expect(name).not.toMatch(/milli|_ms(_|$)|kilo|mega|_count$|_sum$|_bucket$/)
    }
  })

  test('counts requests by the pattern of their route and their status, with their time and bytes', async () => {
    const before = await scrape(baseUrl)
    const user = newUser()
    const rocket = await readCorpus('accept/rocket.jpg')
    const answer = await upload(user, rocket)
    const { id } = await answer.json()
    for (let i = 0; i < 3; i += 1) await call(`/media/${id}`, { as: user })
    await call(`/media/${id}`)
    // The upload is counted when its event is out, too.
    const uploads = { method: 'POST', route: '/media/upload', status: '201' }
    const after = await until(async () => {
      const found = await scrape(baseUrl)
      expect(count(found, uploads)).toBe(count(before, uploads) + 1)
      return found
    })
    const change = (name: string, labels: Record<string, string>) =>
      (sumOf(after, name, labels) ?? 0) - (sumOf(before, name, labels) ?? 0)
    expect(change(`${REQUESTS}_count`, { method: 'GET', route: '/media/:id', status: '200' })).toBe(3)
    expect(change(`${REQUESTS}_count`, { method: 'GET', route: '/media/:id', status: '401' })).toBe(1)
    expect(change(`${REQUESTS}_bucket`, { route: '/media/:id', status: '200', le: '30' })).toBe(3)
    expect(change(`${REQUESTS}_sum`, { route: '/media/:id', status: '200' })).toBeWithin(0.0001, 30)
    expect(change('media_http_received_bytes_total', { route: '/media/upload' })).toBeWithin(
      rocket.length,
      rocket.length + 1000,
    )
    expect(change('media_http_sent_bytes_total', { route: '/media/:id' })).toBeWithin(1000, 5000)
  })

  test('has no more series however many addresses and methods are tried', async () => {
    await call('/media/hush')
    await call('/hush')
    const odd = async (line: string) => {
      const connection = await openRawConnection(baseUrl)
      await connection.send(requestHead(line, {}))
      await connection.answer()
      connection.destroy()
    }
    await odd('PROPFIND /hush')
    const before = await scrape(baseUrl)
    for (let i = 0; i < 20; i += 1) {
      await call(`/media/hush-${i}`)
      await call(`/hush/${i}?hush=${i}`)
    }
    for (const method of ['MKCOL', 'COPY', 'LOCK']) await odd(`${method} /hush`)
    const after = await scrape(baseUrl)
    const series = (families: Family[]) =>
      families.flatMap(({ samples }) =>
        samples
          .filter(({ labels }) => labels.route !== '/metrics')
          .map(({ name, labels }) => JSON.stringify([name, labels])),
      )
    expect(series(after).sort()).toEqual(series(before).sort())
    expect(series(after).join()).not.toContain('hush')
    expect(count(after, { route: 'unmatched' }) - count(before, { route: 'unmatched' })).toBe(23)
    expect(count(after, { method: 'other' }) - count(before, { method: 'other' })).toBe(3)
  })

  test('tells how long what was waited for, and that all of it answers', async () => {
    await uploaded(newUser())
    const families = await scrape(baseUrl)
    const used = ['database', 'store', 'events', 'image', ...(backend === 'real' ? ['limits'] : [])]
    for (const dependency of used) {
      expect(sumOf(families, 'media_dependency_duration_seconds_count', { dependency })).toBeGreaterThan(0)
      expect(sumOf(families, 'media_dependency_duration_seconds_sum', { dependency })).toBeGreaterThan(0)
      expect(sumOf(families, 'media_dependency_failures_total', { dependency })).toBe(0)
    }
    for (const dependency of ['database', 'store', 'events'])
      expect(sumOf(families, 'media_dependency_up', { dependency })).toBe(1)
    expect(sumOf(families, 'media_limiter_passed_total')).toBe(0)
  })

  test('tells what is in use', async () => {
    const families = await scrape(baseUrl)
    expect(sumOf(families, 'media_upload_memory_limit_bytes')).toBe(128 * 1024 * 1024)
    expect(sumOf(families, 'media_upload_memory_used_bytes')).toBe(0)
    expect(sumOf(families, 'media_upload_memory_waiting')).toBe(0)
    expect(sumOf(families, 'media_temporary_limit_bytes')).toBe(backend === 'real' ? 56 * 1024 * 1024 : 0)
    expect(sumOf(families, 'media_temporary_used_bytes')).toBe(0)
    expect(sumOf(families, 'media_temporary_waiting')).toBe(0)
    expect(sumOf(families, 'media_database_connections')).toBe(backend === 'real' ? POOL_CONNECTIONS : 1)
    expect(sumOf(families, 'media_database_queries_waiting')).toBe(0)
    expect(sumOf(families, 'process_cpu_seconds_total')).toBeWithin(0.05, 1000)
    expect(sumOf(families, 'process_resident_memory_bytes')).toBeWithin(20e6, 4e9)
    expect(sumOf(families, 'process_start_time_seconds')).toBeWithin(Date.now() / 1000 - 600, Date.now() / 1000)
  })

  test('counts what waits and what upkeep does', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    expect((await remove(user, id)).status).toBe(204)
    expect((await presign(user, { filename: 'a.jpg', fileType: 'image/jpeg' })).status).toBe(200)
    await until(async () => {
      const families = await scrape(baseUrl)
      expect(sumOf(families, 'media_objects', { status: 'deleted' })).toBe(1)
      expect(sumOf(families, 'media_objects_oldest_seconds', { status: 'deleted' })).toBeGreaterThan(0)
      expect(sumOf(families, 'media_events_owed')).toBe(0)
      expect(sumOf(families, 'media_upkeep_runs_total', { result: 'ok' })).toBeGreaterThan(0)
      expect(sumOf(families, 'media_upkeep_runs_total', { result: 'failed' })).toBe(0)
      expect(sumOf(families, 'media_upkeep_objects_total', { kind: 'expired' })).toBeGreaterThan(0)
      expect(sumOf(families, 'media_upkeep_last_success_timestamp_seconds')).toBeWithin(
        Date.now() / 1000 - 20,
        Date.now() / 1000,
      )
      // The upload that never came: given up, and kept until its link is dead.
      expect(sumOf(families, 'media_objects', { status: 'pending' })).toBe(0)
      expect(sumOf(families, 'media_objects', { status: 'purging' })).toBeGreaterThan(0)
    }, 20_000)
  })

  test('names nobody, and no secret', async () => {
    const user = newUser()
    const { id } = await uploaded(user)
    const text = await (await call('/metrics')).text()
    expectNoSecrets(text, env)
    expect(text).not.toContain(user)
    expect(text).not.toContain(id)
  })
})
