/** Whether the promises hold, told by the database, the store and the bus themselves. */
import type { MediaEvent } from '../../src/events/events.ts'
import type { Arrow } from './witness.ts'
import type { World } from './world.ts'

type Row = {
  id: string
  key: string
  publicKey: string | null
  renditions: Record<string, { key: string; sizeBytes?: number }>
  size: number
  type: string
  status: string
  owed: number
  linksDead: boolean
}

/**
 * What is broken, a line each, once upkeep and relay have had their pass after everything.
 * @param linksAlive whether upload links may be alive still, for which purging rows wait
 */
export async function audit(world: World, { linksAlive = false } = {}): Promise<string[]> {
  const rows = await world.sql<Row[]>`
    SELECT id, storage_key AS key, public_key AS "publicKey", renditions, size_bytes AS size, mime_type AS type, status,
      jsonb_array_length(outbox) AS owed, links_until < now() AS "linksDead"
    FROM media_objects`
  const stored = await world.storage.list({ prefix: '', limit: 1000 })
  const settled = rows.filter(({ status }) => status === 'active' || status === 'deleted')
  const unsettled = rows.filter((row) => !settled.includes(row))
  const waiting = unsettled.filter(({ status, linksDead }) => linksAlive && status === 'purging' && !linksDead)
  const made = settled.flatMap(({ renditions }) => Object.values(renditions))
  const known = new Set([...settled.flatMap(({ key, publicKey }) => [key, publicKey]), ...made.map(({ key }) => key)])
  const sizes = new Map(stored.map(({ key, size }) => [key, size]))
  return [
    ...(await Promise.all(settled.map((row) => bytesOf(row, world)))).flat(),
    ...stored.filter(({ key }) => !known.has(key)).map(({ key }) => `bytes without a row: ${key}`),
    ...made
      .filter(({ key, sizeBytes }) => sizes.get(key) !== sizeBytes)
      .map((entry) => `a rendition without its bytes: ${JSON.stringify(entry)}, ${sizes.get(entry.key)}`),
    ...(await world.unfinished()).map((key) => `a multipart upload still under way: ${key}`),
    ...unsettled.filter((row) => !waiting.includes(row)).map(({ id, status }) => `left ${status}: ${id}`),
    ...rows.filter(({ owed }) => owed > 0).map(({ id, owed }) => `${owed} events still owed: ${id}`),
    ...(await miscounts(world)),
    ...(await misweighed(world)),
    ...(await pasts(world, new Set(rows.map(({ id }) => id)))),
  ]
}

async function bytesOf({ id, key, publicKey, size, type, status }: Row, { storage }: World): Promise<string[]> {
  const head = await storage.head(key)
  if (head === null) return [`${status} without its bytes: ${id}`]
  if (head.size !== size || head.contentType !== type)
    return [`${status} as ${size} bytes of ${type}, stored are ${head.size} of ${head.contentType}: ${id}`]
  if (publicKey !== null && (await storage.head(publicKey)) === null) return [`public without its copy: ${id}`]
  return []
}

/** Owners of whom the usage kept is not what their rows add up to. */
async function miscounts({ sql }: World): Promise<string[]> {
  const wrong = await sql<{ kept: string; counted: string }[]>`
    SELECT to_json(kept) AS kept, to_json(counted) AS counted
    FROM media_usage kept FULL JOIN (
      SELECT user_id, coalesce(sum(coalesce(size_bytes, 0) + rendition_bytes), 0)::bigint AS bytes, count(*) AS objects
      FROM media_objects WHERE counted GROUP BY user_id
    ) counted USING (user_id)
    WHERE (kept.bytes, kept.objects) IS DISTINCT FROM (counted.bytes, counted.objects)`
  return wrong.map((row) => `usage miscounted: ${JSON.stringify(row)}`)
}

/** Pictures whose renditions do not add up to what is noted of them, for the owner and for strangers. */
async function misweighed({ sql }: World): Promise<string[]> {
  const wrong = await sql<{ id: string }[]>`
    SELECT id FROM media_objects, LATERAL (
      SELECT coalesce(sum((value ->> 'sizeBytes')::bigint) FILTER (WHERE NOT value ? 'by'), 0) AS own,
        coalesce(sum((value ->> 'sizeBytes')::bigint) FILTER (WHERE value ? 'by'), 0) AS strangers
      FROM jsonb_each(renditions) AS each (name, value)
    ) AS made
    WHERE (rendition_bytes, stranger_bytes) <> (own, strangers)`
  return wrong.map(({ id }) => `renditions miscounted: ${id}`)
}

/** What each object went through, and whether exactly that was announced. */
async function pasts(world: World, present: Set<string>): Promise<string[]> {
  const arrows = await world.arrows()
  const delivered = await world.delivered()
  return [...arrows].flatMap(([id, past]) => pastOf(id, past, delivered.get(id) ?? [], present.has(id)))
}

const LEGAL: Record<string, string | null> = {
  'pending → active': 'photo:uploaded',
  'active → active': 'photo:updated',
  'active → deleted': 'photo:deleted',
  'deleted → active': 'photo:restored',
  'active → purging': 'photo:purged',
  'deleted → purging': 'photo:purged',
  'pending → purging': null,
}

function pastOf(id: string, past: Arrow[], delivered: MediaEvent[], present: boolean): string[] {
  const broken: string[] = []
  for (const { from, to, channel } of past) {
    const arrow = `${from} → ${to}`
    if (!(arrow in LEGAL)) broken.push(`no such arrow, ${arrow}: ${id}`)
    else if (LEGAL[arrow] !== channel) broken.push(`${arrow} owed ${channel}: ${id}`)
  }
  if (!present && past.at(-1)?.to !== 'purging') broken.push(`gone without having been purging: ${id}`)
  const owed = past
    .filter(({ eventId }) => eventId !== null)
    .map(({ seq, channel, eventId }) => ({ seq, channel, eventId }))
  const firsts = new Map(delivered.toReversed().map((event) => [event.payload.eventId, event]))
  const sent = [...new Set(delivered.map(({ payload }) => payload.eventId))].map((eventId) => {
    const event = firsts.get(eventId)
    return { seq: event?.payload.seq, channel: event?.channel, eventId }
  })
  if (JSON.stringify(owed) !== JSON.stringify(sent))
    broken.push(`changed ${JSON.stringify(owed)}, announced ${JSON.stringify(sent)}: ${id}`)
  if (owed.some(({ seq }, index) => seq !== index + 1)) broken.push(`a gap in ${JSON.stringify(owed)}: ${id}`)
  return broken
}
