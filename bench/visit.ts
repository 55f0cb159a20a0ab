/** One contestant's turn: everything it can do, each operation for a while, after a warm-up. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { tied } from '../test/process.ts'
import type { Services } from '../test/services/services.ts'
import { authorization, type Contestant } from './contestants.ts'
import { cpuSeconds } from './cpu.ts'
import type { Inputs } from './inputs.ts'
import type { Extent, Load, Request, Seen } from './load.ts'

export const operations = [
  'upload',
  'upload3m',
  'presign',
  'complete',
  'get',
  'list',
  'delete',
  'firstRendition',
  'rendition',
] as const
export type Operation = (typeof operations)[number]

/** CPU seconds per 1,000 requests, of the contestant itself and of what stands behind it. */
export type Measured = Seen & { rps: number; cpu: number; behind: Record<'store' | 'database' | 'events', number> }
export type Visit = { readyMs?: number; measured: Partial<Record<Operation, Measured>> }

export type Bench = { services: Services; load: Load; inputs: Inputs; folder: string; seconds: number }

const CONNECTIONS = 16
// Of files that fill the network and the disk with fewer.
const LARGE_CONNECTIONS = 8
// What goes on behind the last answer, such as sending its event, belongs to it.
const AFTERMATH_MS = 300
// To be completed: enough to measure, and made in a few seconds.
const PENDING_PER_SECOND = 400
// Decoding takes all cores with fewer.
const PHOTOS_PER_SECOND = 4
const PHOTO_CONNECTIONS = 4

export async function visit(contestant: Contestant, bench: Bench): Promise<Visit> {
  const { load, folder, seconds } = bench
  const listed = (name: string) => join(folder, name)
  const [first, uploaded, pending, shown] = [listed('first'), listed('uploaded'), listed('pending'), listed('shown')]
  const { photo, ...requests } = await requestsOf(contestant, bench)
  const warmUp = Math.ceil(seconds / 3)
  const measured: Visit['measured'] = {}
  const run = async (operation: Operation, extent: Partial<Extent> = {}) => {
    const request = requests[operation]
    if (request === undefined) return
    measured[operation] = await measure(contestant, bench, request, { connections: CONNECTIONS, seconds, ...extent })
    console.log(`  ${contestant.name} ${operation}: ${inShort(measured[operation])}`)
  }
  const warm = async (operation: Operation, extent: Partial<Extent> = {}) => {
    const request = requests[operation]
    if (request) await load(request, { connections: CONNECTIONS, seconds: warmUp, ...extent })
  }

  if (contestant.name === 'floor') {
    await warm('upload')
    await run('upload')
    await run('upload3m', { connections: LARGE_CONNECTIONS })
    measured.firstRendition = await bareRendition(bench.inputs.photo.file, seconds * PHOTOS_PER_SECOND)
    console.log(`  sharp alone, firstRendition: ${inShort(measured.firstRendition)}`)
    return { measured }
  }
  await warm('upload', { idsOut: first })
  await warm('presign')
  await warm('get', { ids: first })
  await warm('list')
  await run('upload', { idsOut: uploaded })
  await run('presign')
  await run('get', { ids: uploaded })
  await run('list')
  if (requests.complete) {
    for (const [step, count] of [
      [warm, warmUp * PENDING_PER_SECOND],
      [run, seconds * PENDING_PER_SECOND],
    ] as const) {
      await makePending(contestant, bench, requests, count, pending)
      await step('complete', { ids: pending, once: true })
      await rm(pending)
    }
  }
  await warm('delete', { ids: first, once: true })
  await run('delete', { ids: uploaded, once: true })
  await run('upload3m', { connections: LARGE_CONNECTIONS })
  const photos = { connections: PHOTO_CONNECTIONS, seconds: seconds * 60 }
  await load(photo, { ...photos, requests: seconds * PHOTOS_PER_SECOND, idsOut: shown })
  await run('firstRendition', { ...photos, ids: shown, once: true })
  await run('rendition', contestant.name === 'ours' ? { ids: shown } : { connections: PHOTO_CONNECTIONS, ids: shown })
  await Promise.all([rm(first), rm(uploaded), rm(shown)])
  return { measured, ...(contestant.readyMs !== undefined && { readyMs: contestant.readyMs }) }
}

type Requests = Partial<Record<Operation, Request>> & { photo: Request }

/** What the contestant can do. */
async function requestsOf({ name, baseUrl, bucket }: Contestant, { inputs, services }: Bench): Promise<Requests> {
  const { small, large, photo, presign } = inputs
  if (name === 'floor') {
    const account = accountOf(services)
    const headers = { 'content-type': 'image/jpeg' }
    const put = { method: 'PUT', url: `${baseUrl}/${bucket}/{unique}.jpg`, headers, account }
    return {
      upload: { ...put, body: small.file },
      upload3m: { ...put, body: large.file },
      photo: { ...put, body: photo.file },
    }
  }
  const headers = await authorization()
  const upload = { method: 'POST', url: `${baseUrl}/media/upload` }
  const one = `${baseUrl}/media/{id}`
  const rendition = { method: 'GET', url: `${one}/content?w=640&format=webp`, headers }
  const common: Requests = {
    photo: { ...upload, headers: { ...headers, 'content-type': photo.formType }, body: photo.form },
    firstRendition: rendition,
    rendition,
    upload: { ...upload, headers: { ...headers, 'content-type': small.formType }, body: small.form },
    upload3m: { ...upload, headers: { ...headers, 'content-type': large.formType }, body: large.form },
    presign: {
      method: 'POST',
      url: `${baseUrl}/media/presign`,
      headers: { ...headers, 'content-type': 'application/json' },
      body: presign,
    },
    get: { method: 'GET', url: one, headers },
    delete: { method: 'DELETE', url: one, headers },
  }
  if (name === 'reference') return common
  return {
    ...common,
    complete: { method: 'POST', url: `${one}/complete`, headers },
    list: { method: 'GET', url: `${baseUrl}/media?limit=20`, headers },
  }
}

/** Announces that many uploads and puts their bytes into the store, so that they can be completed. */
async function makePending(
  { bucket }: Contestant,
  { load, inputs, services, seconds }: Bench,
  { presign }: Pick<Requests, 'presign'>,
  count: number,
  ids: string,
): Promise<void> {
  if (presign === undefined) return
  const extent = { connections: CONNECTIONS, seconds: seconds * 60 }
  const announced = await load(presign, { ...extent, requests: count, idsOut: ids })
  const put = {
    method: 'PUT',
    url: `${services.s3.endpoint}/${bucket}/media/{id}/original.jpg`,
    headers: { 'content-type': 'image/jpeg' },
    body: inputs.small.file,
    account: accountOf(services),
  }
  const stored = await load(put, { ...extent, ids, once: true })
  if (announced.bad + stored.bad > 0)
    throw new Error(`not made ready to complete: ${announced.sample} ${stored.sample}`)
}

function accountOf({ s3 }: Services): string {
  return [s3.accessKeyId, s3.secretAccessKey, s3.region].join(':')
}

export async function measure(
  { pid }: Pick<Contestant, 'pid'>,
  { load, services }: Pick<Bench, 'load' | 'services'>,
  request: Request,
  extent: Extent,
): Promise<Measured> {
  await Bun.sleep(AFTERMATH_MS)
  const { minio, postgres, redis } = services.control ?? {}
  const pids = { itself: pid, store: minio?.pid, database: postgres?.pid, events: redis?.pid }
  const used = () => Object.values(pids).map((one) => (one === undefined ? 0 : cpuSeconds(one)))
  const before = used()
  const seen = await load(request, extent)
  await Bun.sleep(AFTERMATH_MS)
  const after = used()
  const per1000 = after.map((value, i) => ((value - (before[i] ?? 0)) * 1000) / Math.max(1, seen.ok))
  const [cpu = 0, store = 0, database = 0, events = 0] = per1000
  return { ...seen, rps: seen.ok / seen.seconds, cpu, behind: { store, database, events } }
}

/** What sharp alone takes for the same picture, in a process of its own. */
async function bareRendition(file: string, count: number): Promise<Measured> {
  const command = [process.execPath, join(import.meta.dirname, 'bare-rendition.ts'), file, String(count)]
  const child = Bun.spawn(tied(command), { stdio: ['ignore', 'pipe', 'inherit'] })
  const { cpu, seconds }: { cpu: number; seconds: number } = await new Response(child.stdout).json()
  const behind = { store: 0, database: 0, events: 0 }
  const each = (seconds * 1000) / count
  return { ok: count, bad: 0, sample: '', seconds, p50: each, p99: each, ownCpu: 0, rps: count / seconds, cpu, behind }
}

function inShort({ cpu, rps, p50, ok, bad, sample }: Measured): string {
  const failed = bad > 0 ? `, ${bad} BAD: ${sample}` : ''
  return `${cpu.toFixed(3)} s/1000, ${rps.toFixed(0)}/s, p50 ${p50.toFixed(1)} ms, ${ok} requests${failed}`
}
