/**
 * `bun run bench:rows`: what calls cost the service and its database with a million objects of one person, beside a
 * thousand, in turns. Fails when one costs more than 1.2 times as much. Needs Linux and Go.
 */
import { join } from 'node:path'
import { connect, type Sql } from '../src/db/connect.ts'
import { createRepository } from '../src/media/table/repository.ts'
import { createFolder } from '../test/support/services/folder.ts'
import { settingsOf, startServices } from '../test/support/services/services.ts'
import { authorization, type Contestant, openService, USER } from './contestants.ts'
import { cpuSeconds } from './cpu.ts'
import { writeInputs } from './inputs.ts'
import { openLoad, type Request } from './load.ts'
import { type Bench, createWorkload, type Measured, measure, type Operation } from './workload.ts'

const FEW = 1000
const MANY = 1_000_000
const MOST = 1.2
const ROUNDS = 3
const SECONDS = 5
const CONNECTIONS = 16
// Statements that find nothing to do, as almost always.
const PASSES = 10_000
// What uses its objects up, with the seconds for which the workload is to make some: short, so that few stay few.
const CHANGES: [Operation, number][] = [
  ['upload', SECONDS],
  ['complete', 2],
  ['delete', 1],
]

type Candidate = Contestant & {
  rows: number
  sql: Sql
  requests: Record<string, Request>
  ids: string
  madeUntil: string
}

const services = await startServices({}, { durable: true })
// For what takes the services from the environment.
Object.assign(process.env, settingsOf(services))
const folder = await createFolder()
const candidates: Candidate[] = []
try {
  const bench = { services, load: await openLoad(), inputs: await writeInputs(folder.path), folder: folder.path }
  for (const rows of [FEW, MANY]) candidates.push(await prepare(rows, bench))
  // The first turn of each only warms up.
  const costs = new Map<string, Map<number, number[]>>()
  for (let round = 0; round <= ROUNDS; round++) {
    for (const candidate of candidates) {
      for (const [what, cost] of Object.entries(await costsOf(candidate, bench))) {
        const byRows = costs.get(what) ?? new Map<number, number[]>()
        costs.set(what, byRows)
        if (round > 0) byRows.set(candidate.rows, [...(byRows.get(candidate.rows) ?? []), cost])
      }
    }
  }
  let met = true
  console.log(`CPU seconds of service and database per 1,000, with ${FEW} and with ${MANY} objects of one person:`)
  for (const [what, byRows] of costs) {
    // Noise only adds.
    const [few, many] = [FEW, MANY].map((rows) => Math.min(...(byRows.get(rows) ?? []))) as [number, number]
    const ratio = many / few
    met &&= ratio <= MOST
    console.log(
      `${what.padEnd(40)} ${few.toFixed(3)}  ${many.toFixed(3)}  ${ratio.toFixed(2)} ${ratio <= MOST ? 'met' : 'MISSED'}`,
    )
  }
  process.exitCode = met ? 0 : 1
} finally {
  for (const { sql, close } of candidates) {
    await sql.end()
    await close()
  }
  await folder.remove()
  await services.stop()
}

async function prepare(rows: number, { inputs: { presign } }: Bench): Promise<Candidate> {
  const contestant = await openService({ label: `rows-${rows}`, services, folder: folder.path })
  const sql = connect({ url: contestant.databaseUrl ?? '' })
  console.log(`bench: making ${rows} objects`)
  await sql`ALTER TABLE media_objects DISABLE TRIGGER USER`
  // With their placeholders: upkeep would look for the bytes of a million, which are not there.
  await sql`
    INSERT INTO media_objects (id, user_id, original_name, mime_type, size_bytes, storage_key, links_until, status, metadata,
      placeholder_due_at)
    SELECT id, ${USER}, 'photo.jpg', 'image/jpeg', 30000, 'media/' || id || '/original.jpg', now(), 'active',
      '{"width": 440, "height": 294, "thumbHash": "1QcSHQRnh493V4dIh4eXh1h4kJUI"}', NULL
    FROM (SELECT (lpad(to_hex(n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid AS id
      FROM generate_series(1, ${rows}::int) AS n) AS made`
  await sql`ALTER TABLE media_objects ENABLE TRIGGER USER`
  await sql`INSERT INTO media_usage_shares (user_id, share, bytes, objects) VALUES (${USER}, 1, ${rows * 30_000}, ${rows})`
  await sql`VACUUM ANALYZE media_objects`
  const some = await sql<{ id: string }[]>`
    SELECT id FROM media_objects WHERE ('x' || right(id::text, 12))::bit(48)::bigint % ${rows / FEW}::int = 0`
  const ids = join(folder.path, `ids-${rows}`)
  await Bun.write(ids, some.map(({ id }) => `${id}\n`).join(''))
  const deep = some.map(({ id }) => id).sort()[FEW / 10]
  const headers = await authorization()
  const media = `${contestant.baseUrl}/media`
  const json = { ...headers, 'content-type': 'application/json' }
  const requests = {
    get: { method: 'GET', url: `${media}/{id}`, headers },
    'the first page of 20': { method: 'GET', url: `${media}?limit=20`, headers },
    'a page of 20, far down': { method: 'GET', url: `${media}?limit=20&cursor=${deep}`, headers },
    presign: { method: 'POST', url: `${media}/presign`, headers: json, body: presign },
  }
  const madeUntil =
    some
      .map(({ id }) => id)
      .sort()
      .at(-1) ?? ''
  return { ...contestant, rows, sql, requests, ids, madeUntil }
}

async function costsOf(candidate: Candidate, bench: Bench): Promise<Record<string, number>> {
  const costs: Record<string, number> = {}
  const note = (what: string, { cpu, behind, bad, sample }: Omit<Measured, 'operation' | 'connections'>) => {
    if (bad > 0) throw new Error(`${what} failed: ${sample}`)
    costs[what] = cpu + behind.database
  }
  for (const [what, request] of Object.entries(candidate.requests)) {
    const extent = { connections: CONNECTIONS, seconds: SECONDS, ids: candidate.ids }
    note(what, await measure(candidate, bench, request, extent))
  }
  const { prepare, run } = createWorkload(candidate, bench)
  for (const [operation, seconds] of CHANGES) {
    const ready = await prepare(operation, seconds)
    // Until what was made is used up.
    note(operation, await run(operation, { connections: CONNECTIONS, seconds: SECONDS, ...ready }))
  }
  // Few stay few, and nothing of one turn is left to be cleaned up during another.
  await candidate.sql`DELETE FROM media_objects WHERE id > ${candidate.madeUntil}`
  await candidate.sql`VACUUM ANALYZE media_objects`
  const repository = createRepository({ sql: candidate.sql, pendingSeconds: 86_400, retentionSeconds: 86_400 })
  const passes = {
    'looking for events to send': () => repository.outbox.claim(100),
    'looking for what has expired': () => repository.purging.expire(100, { tried: true }),
    'looking for uploads whose bytes have arrived': () => repository.arrivals.claim(100),
    'looking for what is to be purged': () => repository.purging.claim(20),
  }
  const pid = services.control?.postgres.pid
  for (const [what, pass] of Object.entries(passes)) {
    const before = pid === undefined ? 0 : cpuSeconds(pid)
    for (let i = 0; i < PASSES; i++) await pass()
    costs[what] = (((pid === undefined ? 0 : cpuSeconds(pid)) - before) * 1000) / PASSES
  }
  return costs
}
