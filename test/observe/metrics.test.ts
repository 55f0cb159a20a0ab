import { beforeEach, expect, test } from 'bun:test'
import type { Backlog } from '../../src/media/table/health.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { parseMetrics, sumOf } from '../support/http/prometheus.ts'

const backlog: Backlog = {
  ...{ owed: 3, oldestOwed: 60, setAside: 1, pending: 2, oldestPending: 30 },
  ...{ deleted: 1, oldestDeleted: 5, purging: 4 },
}
const decoding = {
  ...{ processes: 3, busy: 1, waiting: 4, killed: 2 },
  outcomes: { done: 7, 'bad-bytes': 1, 'too-dear': 0, 'not-done': 5 },
}
const state = { now: 0, asked: 0, wanted: 0, reserved: 0, waiting: 0, answer: async () => backlog }
beforeEach(() => {
  Object.assign(state, { now: 0, asked: 0, wanted: 0, answer: async () => backlog })
})

const create = () => {
  const fine = async () => {}
  return createMetrics({
    checks: { database: fine, storage: fine, events: fine },
    backlog() {
      state.asked += 1
      return state.answer()
    },
    uploadMemory: { budget: 1000, usage: () => state },
    temporary: () => ({ limit: 900, ...state }),
    decoders: { usage: () => decoding },
    eventStreams: () => 0,
    connections: { most: 20, wanted: () => state.wanted },
    now: () => state.now,
  })
}
const read = async ({ text }: ReturnType<typeof create>) => parseMetrics(await text())

test('however many look at once or soon after another, the database is asked once', async () => {
  const metrics = create()
  await Promise.all(Array.from({ length: 10 }, () => metrics.text()))
  state.now = 4000
  await metrics.text()
  expect(state.asked).toBe(1)
  state.now = 6000
  expect(sumOf(await read(metrics), 'media_events_owed')).toBe(3)
  expect(state.asked).toBe(2)
})

test('a database that fails or hangs leaves gaps in the metrics, and the others are there', async () => {
  const metrics = create()
  await metrics.text()
  for (const answer of [() => Promise.reject(new Error('down')), () => new Promise<never>(() => {})]) {
    Object.assign(state, { answer, now: state.now + 10_000 })
    const begun = performance.now()
    const found = await read(metrics)
    expect(performance.now() - begun).toBeLessThan(3000)
    expect(sumOf(found, 'media_events_owed')).toBeNaN()
    expect(sumOf(found, 'media_objects', { status: 'pending' })).toBeNaN()
    expect(sumOf(found, 'media_upload_memory_limit_bytes')).toBe(1000)
  }
})

test('more queries than connections are queries that wait', async () => {
  const metrics = create()
  for (const [wanted, used, free, waiting] of [
    [0, 0, 20, 0],
    [7, 7, 13, 0],
    [25, 20, 0, 5],
  ] as const) {
    state.wanted = wanted
    const found = await read(metrics)
    expect(sumOf(found, 'media_database_connections', { state: 'used' })).toBe(used)
    expect(sumOf(found, 'media_database_connections', { state: 'free' })).toBe(free)
    expect(sumOf(found, 'media_database_queries_waiting')).toBe(waiting)
  }
})

test('upload memory and the uploads that wait for it are current values', async () => {
  const metrics = create()
  await metrics.text()
  Object.assign(state, { reserved: 700, waiting: 2 })
  const found = await read(metrics)
  expect(sumOf(found, 'media_upload_memory_used_bytes')).toBe(700)
  expect(sumOf(found, 'media_upload_memory_waiting')).toBe(2)
  expect(sumOf(found, 'media_temporary_used_bytes')).toBe(700)
  expect(sumOf(found, 'media_temporary_limit_bytes')).toBe(900)
  expect(sumOf(found, 'media_temporary_waiting')).toBe(2)
})

test('decoders are shown at work and idle, with how their jobs have ended', async () => {
  const metrics = create()
  for (let times = 0; times < 2; times += 1) {
    const found = await read(metrics)
    expect(sumOf(found, 'media_decoder_processes', { state: 'busy' })).toBe(1)
    expect(sumOf(found, 'media_decoder_processes', { state: 'idle' })).toBe(2)
    expect(sumOf(found, 'media_decoder_jobs_waiting')).toBe(4)
    expect(sumOf(found, 'media_decoder_jobs_total', { outcome: 'done' })).toBe(7)
    expect(sumOf(found, 'media_decoder_jobs_total')).toBe(13)
    expect(sumOf(found, 'media_decoder_killed_total')).toBe(2)
  }
})

test('a pass of upkeep that could not finish counts as failed, with its step, and what it did counts', async () => {
  const metrics = create()
  state.now = 50_000
  const report = {
    expired: 1,
    unclaimed: 1,
    retired: 2,
    emptied: 3,
    completed: 9,
    forgotten: 4,
    orphans: 5,
    placeholders: 6,
    published: 7,
    mended: 8,
  }
  metrics.upkeep({ ...report, failed: ['purge'] })
  const found = await read(metrics)
  expect(sumOf(found, 'media_upkeep_runs_total', { result: 'failed' })).toBe(1)
  expect(sumOf(found, 'media_upkeep_step_failures_total', { step: 'purge' })).toBe(1)
  expect(sumOf(found, 'media_upkeep_objects_total', { kind: 'orphans' })).toBe(5)
  expect(sumOf(found, 'media_upkeep_last_success_timestamp_seconds')).toBe(0)
  metrics.upkeep({ ...report, failed: [] })
  expect(sumOf(await read(metrics), 'media_upkeep_last_success_timestamp_seconds')).toBe(50)
})
