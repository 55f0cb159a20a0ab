/** What is measured: each operation with what has to be there before it, and what it takes. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { v7 as uuidv7 } from 'uuid'
import { tied } from '../test/support/process/process.ts'
import type { Services } from '../test/support/services/services.ts'
import { authorization, type Contestant, USER } from './contestants.ts'
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

/** CPU seconds per 1,000 requests, of the contestant with its children, and of what stands behind it. */
export type Measured = Seen & {
  operation: Operation
  connections: number
  rps: number
  cpu: number
  behind: Record<'store' | 'database' | 'events', number>
}

export type Bench = { services: Services; load: Load; inputs: Inputs; folder: string }

/** Requests at once unless it is said; large files fill the network, and decoding all cores, with fewer. */
export function usualConnections(operation: Operation): number {
  return operation === 'upload3m' ? 8 : operation === 'firstRendition' ? 4 : 16
}

// What goes on behind the last answer, such as sending its event, belongs to it.
const AFTERMATH_MS = 300
// More than anybody does in a second.
const MOST_A_SECOND = { delete: 8000, complete: 1000, firstRendition: 12 }
const ROWS_TO_READ = 5000
const MINUTES = { connections: 16, seconds: 600 }

export function createWorkload(contestant: Contestant, bench: Bench) {
  const { load, inputs, services, folder } = bench
  const listed = (operation: Operation) => join(folder, `${contestant.label}-${operation}`)

  /** Makes what an operation needs for so many seconds; undefined where the contestant has no such operation. */
  async function prepare(operation: Operation, seconds: number): Promise<Partial<Extent> | undefined> {
    if ((await requestsOf(contestant, bench))[operation] === undefined) return undefined
    const ids = listed(operation)
    if (operation === 'get') {
      await insertRows(contestant, ROWS_TO_READ, ids)
      return { ids }
    }
    if (operation === 'list') await insertRows(contestant, 100, ids)
    if (operation === 'delete') {
      await insertRows(contestant, seconds * MOST_A_SECOND.delete, ids)
      return { ids, once: true }
    }
    if (operation === 'complete') {
      await makePending(seconds * MOST_A_SECOND.complete, ids)
      return { ids, once: true }
    }
    if (operation === 'firstRendition' || operation === 'rendition') {
      await rm(ids, { force: true })
      const { photo, rendition } = await requestsOf(contestant, bench)
      const requests = operation === 'rendition' ? 8 : seconds * MOST_A_SECOND.firstRendition
      await all(photo, { ...MINUTES, connections: 4, requests, idsOut: ids })
      if (operation === 'firstRendition') return { seconds: MINUTES.seconds, ids, once: true }
      await all(rendition, { ...MINUTES, connections: 2, ids, once: true })
      return { ids }
    }
    return {}
  }

  /** Does one operation for so many seconds. Nothing that belongs to it goes on afterwards. */
  async function run(operation: Operation, extent: Extent): Promise<Measured> {
    const request = (await requestsOf(contestant, bench))[operation]
    if (request === undefined) throw new Error(`${contestant.label} has no ${operation}`)
    const measured = await measure(contestant, bench, request, extent)
    await relieveUpkeep(contestant)
    return { operation, connections: extent.connections, ...measured }
  }

  /** Announces that many uploads and puts their bytes into the store, so that they can be completed. */
  async function makePending(count: number, ids: string): Promise<void> {
    await rm(ids, { force: true })
    const { presign } = await requestsOf(contestant, bench)
    await all(presign, { ...MINUTES, requests: count, idsOut: ids })
    const put = {
      method: 'PUT',
      url: `${services.s3.endpoint}/${contestant.bucket}/media/{id}/original.jpg`,
      headers: { 'content-type': 'image/jpeg' },
      body: inputs.small.file,
      account: accountOf(services),
    }
    await all(put, { ...MINUTES, ids, once: true })
  }

  async function all(request: Request | undefined, extent: Extent): Promise<void> {
    if (request === undefined) throw new Error(`${contestant.label} lacks an operation that another one needs`)
    const { bad, sample } = await load(request, extent)
    if (bad > 0) throw new Error(`${contestant.label}: not made ready: ${sample}`)
  }

  return { prepare, run }
}

type Requests = Partial<Record<Operation | 'photo', Request>>

/** What the contestant can do. */
async function requestsOf({ name, baseUrl, bucket }: Contestant, { inputs, services }: Bench): Promise<Requests> {
  const { small, large, photo, presign } = inputs
  if (name === 'floor') {
    const account = accountOf(services)
    const headers = { 'content-type': 'image/jpeg' }
    const put = { method: 'PUT', url: `${baseUrl}/${bucket}/{unique}.jpg`, headers, account }
    return { upload: { ...put, body: small.file }, upload3m: { ...put, body: large.file } }
  }
  const headers = await authorization()
  const upload = { method: 'POST', url: `${baseUrl}/media/upload` }
  const one = `${baseUrl}/media/{id}`
  const rendition = { method: 'GET', url: `${one}/content?w=640&format=webp`, headers }
  const json = { ...headers, 'content-type': 'application/json' }
  const common: Requests = {
    photo: { ...upload, headers: { ...headers, 'content-type': photo.formType }, body: photo.form },
    firstRendition: rendition,
    rendition,
    upload: { ...upload, headers: { ...headers, 'content-type': small.formType }, body: small.form },
    upload3m: { ...upload, headers: { ...headers, 'content-type': large.formType }, body: large.form },
    presign: { method: 'POST', url: `${baseUrl}/media/presign`, headers: json, body: presign },
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

function accountOf({ s3 }: Services): string {
  return [s3.accessKeyId, s3.secretAccessKey, s3.region].join(':')
}

/** Active objects without bytes, for what looks at rows only: as many as are needed, without the time to upload them. */
async function insertRows({ name, databaseUrl = '' }: Contestant, count: number, file: string): Promise<void> {
  const ids = Array.from({ length: count }, () => uuidv7())
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  const ours = name === 'reference' ? sql`` : sql`, links_until, placeholder_due_at`
  await sql`
    INSERT INTO media_objects (id, user_id, original_name, mime_type, size_bytes, storage_key, metadata, status ${ours})
    SELECT id, ${USER}::uuid, 'photo.jpg', 'image/jpeg', 30000, 'media/' || id || '/original.jpg',
      '{"width": 440, "height": 294}', 'active' ${name === 'reference' ? sql`` : sql`, now(), NULL`}
    FROM unnest(${ids}::uuid[]) AS id`
  await sql`ANALYZE media_objects`
  await sql.end()
  await Bun.write(file, ids.map((id) => `${id}\n`).join(''))
}

/**
 * Takes away what upkeep would do minutes later, during measurements of something else: placeholders of thousands of
 * pictures, and the search for bytes of as many uploads that nobody completes.
 */
async function relieveUpkeep({ name, databaseUrl = '' }: Contestant): Promise<void> {
  if (name !== 'ours' && name !== 'limited') return
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  await sql`UPDATE media_objects SET placeholder_due_at = NULL WHERE placeholder_due_at IS NOT NULL`
  await sql`DELETE FROM media_objects WHERE status = 'pending'`
  await sql.end()
}

export async function measure(
  { pid }: Pick<Contestant, 'pid'>,
  { load, services }: Pick<Bench, 'load' | 'services'>,
  request: Request,
  extent: Extent,
): Promise<Omit<Measured, 'operation' | 'connections'>> {
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
export async function bareRendition(file: string, count: number): Promise<Measured> {
  const command = [process.execPath, join(import.meta.dirname, 'bare-rendition.ts'), file, String(count)]
  const child = Bun.spawn(tied(command), { stdio: ['ignore', 'pipe', 'inherit'] })
  const { cpu, seconds }: { cpu: number; seconds: number } = await new Response(child.stdout).json()
  const behind = { store: 0, database: 0, events: 0 }
  const each = (seconds * 1000) / count
  const seen = { ok: count, bad: 0, sample: '', seconds, p50: each, p99: each, ownCpu: 0 }
  return { operation: 'firstRendition', connections: 0, ...seen, rps: count / seconds, cpu, behind }
}
