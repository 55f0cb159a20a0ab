import { createHash } from 'node:crypto'
import { GetObjectCommand, paginateListObjectsV2, type S3Client } from '@aws-sdk/client-s3'
import type postgres from 'postgres'
import type { Announced } from './announced.ts'
import type { Wish } from './load.ts'

type Row = {
  id: string
  status: string
  storage_key: string
  public_key: string | null
  rendered: string[]
  event_seq: number
  owed: number
  original_name: string
}

/** Everything that is there once all has come to rest. */
export type Remains = { rows: Map<string, Row>; keys: Set<string>; hashes: Map<string, string> }

const AT_ONCE = 16

export async function gatherRemains(sql: postgres.Sql, s3: S3Client, Bucket: string): Promise<Remains> {
  const rows = await sql<Row[]>`
    SELECT id, status, storage_key, public_key, event_seq, jsonb_array_length(outbox) AS owed, original_name,
      ARRAY(SELECT value ->> 'key' FROM jsonb_each(renditions)) AS rendered
    FROM media_objects`
  const keys: string[] = []
  for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket }))
    keys.push(...Contents.map(({ Key = '' }) => Key))
  const hashes = new Map<string, string>()
  const left = [...keys]
  const hashNext = async () => {
    for (let Key = left.pop(); Key !== undefined; Key = left.pop()) {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
      const bytes = (await Body?.transformToByteArray()) ?? new Uint8Array()
      hashes.set(Key, createHash('sha256').update(bytes).digest('hex'))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, hashNext))
  return { rows: new Map(rows.map((row) => [row.id, row])), keys: new Set(keys), hashes }
}

/** What was promised and does not hold, a line each. */
export function judge(wishes: readonly Wish[], announced: readonly Announced[], remains: Remains): string[] {
  const faults: string[] = []
  const objects = byObject(announced, faults)
  const wishOf = new Map(wishes.map((wish) => [wish.name, wish]))
  const idsOf = new Map<string, string[]>()

  for (const [id, events] of objects) {
    const [first] = events
    if (first?.channel !== 'photo:uploaded') faults.push(`${id}: its first event is ${first?.channel}`)
    const wish = wishOf.get(first?.originalName ?? '')
    if (wish === undefined) faults.push(`${id}: nobody asked for ${first?.originalName}`)
    else idsOf.set(wish.name, [...(idsOf.get(wish.name) ?? []), id])
    faults.push(...compareWithRow(id, events, wish, remains), ...unlawful(id, events))
  }

  for (const wish of wishes) faults.push(...compareWithAnswers(wish, idsOf.get(wish.name) ?? [], objects, remains))

  const expected = new Set<string>()
  for (const { id, status, storage_key, public_key, rendered } of remains.rows.values()) {
    if (status !== 'active') faults.push(`${id}: a row that is ${status} is left`)
    if (!objects.has(id)) faults.push(`${id}: a row that was never announced`)
    for (const key of [storage_key, public_key, ...rendered]) if (key !== null) expected.add(key)
  }
  for (const key of remains.keys) if (!expected.has(key)) faults.push(`${key}: bytes that no row knows`)
  return faults
}

/** Each object's events, repeated ones dropped as a consumer does; complains where seq has gaps or goes back. */
function byObject(announced: readonly Announced[], faults: string[]): Map<string, Announced[]> {
  const objects = new Map<string, Announced[]>()
  const seen = new Set<string>()
  for (const event of announced) {
    if (seen.has(event.eventId)) continue
    seen.add(event.eventId)
    const events = objects.get(event.id) ?? []
    if (event.seq !== events.length + 1)
      faults.push(`${event.id}: ${event.channel} has seq ${event.seq} where ${events.length + 1} comes first`)
    objects.set(event.id, [...events, event])
  }
  return objects
}

const THERE = ['photo:uploaded', 'photo:updated', 'photo:restored']
/** What each event comes after; nothing comes before an upload. Of several that make the same change, one does. */
const AFTER: Record<string, string[]> = {
  'photo:uploaded': [],
  'photo:updated': THERE,
  'photo:deleted': THERE,
  'photo:restored': ['photo:deleted'],
  'photo:purged': ['photo:deleted'],
}

function unlawful(id: string, events: Announced[]): string[] {
  return events.flatMap(({ channel }, i) => {
    const before = events[i - 1]?.channel
    return before === undefined || AFTER[channel]?.includes(before) ? [] : [`${id}: ${channel} after ${before}`]
  })
}

/** The last event says what has to be there now. */
function compareWithRow(id: string, events: Announced[], wish: Wish | undefined, remains: Remains): string[] {
  const last = events.at(-1)?.channel
  const row = remains.rows.get(id)
  if (last === 'photo:deleted') return [`${id}: deleted, and never purged`]
  if (last === 'photo:purged') return row === undefined ? [] : [`${id}: purged, and its row is left`]
  if (row === undefined) return [`${id}: ${last} was announced, and there is no row`]
  const faults: string[] = []
  if (row.owed > 0) faults.push(`${id}: still owes ${row.owed} events`)
  if (row.event_seq !== events.length) faults.push(`${id}: ${events.length} of ${row.event_seq} events were announced`)
  if (remains.hashes.get(row.storage_key) !== wish?.sha256)
    faults.push(`${id}: ${remains.keys.has(row.storage_key) ? 'other bytes than were sent' : 'no bytes'}`)
  const name = events.findLast(({ originalName }) => originalName !== undefined)?.originalName
  if (row.original_name !== name) faults.push(`${id}: is called ${row.original_name}, and ${name} was announced`)
  return faults
}

function compareWithAnswers(
  { name, id, once, state, renamed }: Wish,
  ids: string[],
  objects: Map<string, Announced[]>,
  { rows }: Remains,
): string[] {
  const faults: string[] = []
  if (once && ids.length > 1) faults.push(`${name}: one object was asked for, there were ${ids.join(', ')}`)
  if (id === undefined) return faults
  const events = objects.get(id) ?? []
  const channels = events.map(({ channel }) => channel)
  if (!ids.includes(id)) faults.push(`${id}: LOST, it was answered with success and never announced`)
  if (state === 'active' && !rows.has(id)) faults.push(`${id}: LOST, it was answered with success and has no row`)
  if (state === 'deleted' && rows.has(id)) faults.push(`${id}: deleted, and back`)
  if (state === 'deleted' && !channels.includes('photo:deleted')) faults.push(`${id}: its deletion was not announced`)
  for (const to of renamed)
    if (!events.some(({ channel, originalName }) => channel === 'photo:updated' && originalName === to))
      faults.push(`${id}: its change to ${to} was not announced`)
  return faults
}
