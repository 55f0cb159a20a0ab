import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { multipart } from '../support/http/multipart.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import type { Answer, PatientClient } from './client.ts'
import type { Random } from './random.ts'
import { compete, type Prize } from './rivals.ts'

/** One file that somebody wanted stored, and what they were told about it. */
export type Wish = {
  user: string
  /** The file name it was sent under; nothing else was. */
  name: string
  sha256: string
  /** Sent with an Idempotency-Key, or over one link only: there can be one object of it at most. */
  once: boolean
  /** A file made to cost the service much: it may be refused. */
  hostile?: boolean
  /** Set by a 201, or by the 200 of complete. */
  id?: string
  /** What the client may rely on by now; `open` after an answer that leaves more than one possibility. */
  state: 'active' | 'deleted' | 'open'
  /** Names it was given since, each with a 200. */
  renamed: string[]
}

/** A picture that costs more than it weighs. */
export type HostileFile = { bytes: Uint8Array<ArrayBuffer>; mimeType: string }

const WORKERS = 10
/** So many objects at a time are what rivals compete for. */
const PRIZES = 8
const LARGEST_TAIL = 1_500_000

/**
 * Stores, changes and deletes until `goesOn` says no. What the clients were told is in the wishes it returns; `won`: how
 * many changes, asked for by all rivals at once, one of them has certainly made.
 * @param rivals clients of one replica each, some of the same one
 */
export async function runLoad(
  client: PatientClient,
  rivals: readonly PatientClient[],
  random: Random,
  goesOn: () => boolean,
  hostile: readonly HostileFile[],
): Promise<{ wishes: Wish[]; won: number }> {
  const picture = await readCorpus('accept/rocket.jpg')
  const wishes: Wish[] = []
  let won = 0
  const run = async () => {
    while (goesOn()) {
      const { wish, bytes } = newWish(picture, random)
      wishes.push(wish)
      if (random.chance(0.65)) await upload(client, wish, bytes, random)
      else await uploadByLink(client, wish, bytes, random)
      if (wish.id !== undefined) await live(client, wish, wish.id, random)
      await sleep(random.whole(0, 60))
    }
  }
  const attack = async () => {
    while (goesOn()) {
      for (const { bytes, mimeType } of hostile) {
        if (!goesOn()) return
        const wish = { ...newWish(bytes, random).wish, sha256: sha256(bytes), hostile: true }
        wishes.push(wish)
        await upload(client, wish, bytes, random, { type: mimeType, visibility: 'public' })
        if (wish.id !== undefined) await lookAsStranger(client, wish.id)
      }
    }
  }
  const contend = async () => {
    while (goesOn()) {
      const made = Array.from({ length: PRIZES }, () => newWish(picture, random))
      wishes.push(...made.map(({ wish }) => wish))
      const prizes = await Promise.all(made.map(({ wish, bytes }) => prizeOf(client, wish, bytes)))
      const outcome = await compete(
        rivals,
        prizes.filter((prize) => prize !== null),
      )
      client.wrong.push(...outcome.faults)
      won += outcome.won
    }
  }
  await Promise.all([...Array.from({ length: WORKERS }, run), attack(), contend()])
  return { wishes, won }
}

/** Has the service decode a public file, which may be refused, and may take too long. */
async function lookAsStranger(client: PatientClient, id: string): Promise<void> {
  for (const query of ['', '?w=160', '?w=640']) {
    const answer = await client.look(`/media/${id}/content${query}`)
    if (answer !== null && ![302, 404, 422, 429, 503].includes(answer.status)) unexpected(client, 'content', answer)
  }
}

/** A picture with bytes of its own behind its end, which viewers ignore: no two are the same. */
function newWish(picture: Uint8Array, random: Random): { wish: Wish; bytes: Uint8Array<ArrayBuffer> } {
  const tail = randomBytes(random.chance(0.2) ? random.whole(100_000, LARGEST_TAIL) : 32)
  const bytes = new Uint8Array(Buffer.concat([picture, tail]))
  const name = `${crypto.randomUUID()}.jpg`
  return {
    wish: {
      user: crypto.randomUUID(),
      name,
      sha256: sha256(bytes),
      once: random.chance(0.5),
      state: 'open',
      renamed: [],
    },
    bytes,
  }
}

async function upload(
  client: PatientClient,
  wish: Wish,
  bytes: Uint8Array,
  random: Random,
  { type = 'image/jpeg', visibility = 'private' } = {},
): Promise<void> {
  const { body, headers } = multipart([
    { name: 'visibility', content: visibility },
    { name: 'file', filename: wish.name, type, content: bytes },
  ])
  const answer = await client.call(wish.user, '/media/upload', {
    method: 'POST',
    body,
    headers: { ...headers, ...idempotency(wish) },
    // Some hang up in the middle, at each attempt, and never hear what became of it.
    ...(random.chance(0.05) && { signal: AbortSignal.timeout(random.whole(1, 30)) }),
  })
  settle(client, wish, answer, 201)
}

async function uploadByLink(
  client: PatientClient,
  wish: Wish,
  bytes: Uint8Array<ArrayBuffer>,
  random: Random,
): Promise<void> {
  const bound = random.chance(0.5) ? { size: bytes.length, sha256: wish.sha256 } : {}
  const presigned = await client.call(wish.user, '/media/presign', {
    method: 'POST',
    body: JSON.stringify({ filename: wish.name, fileType: 'image/jpeg', ...bound }),
    headers: { 'content-type': 'application/json', ...idempotency(wish) },
  })
  if (presigned === null) return
  // Only the link that was heard of is ever used.
  wish.once = true
  const { id, uploadUrl, headers } = presigned.body as { id: string; uploadUrl: string; headers: HeadersInit }
  if (presigned.status !== 200) {
    unexpected(client, 'presign', presigned)
    return
  }
  if (random.chance(0.05)) return
  for (let tries = 0; tries < 3; tries++) {
    const put = await client.put(uploadUrl, { method: 'PUT', headers, body: bytes })
    // 412: the bytes of an attempt before, whose answer was lost.
    if (put === null || (put.status !== 200 && put.status !== 412)) return
    if (random.chance(0.05)) return
    const completed = await client.call(wish.user, `/media/${id}/complete`, { method: 'POST' })
    // The upload took longer than PENDING_SECONDS, or than the link lives.
    if (completed === null || completed.status === 404) return
    if (completed.status !== 409) {
      settle(client, wish, completed, 200)
      return
    }
  }
}

/** An object that has its bytes, and that nobody has completed. */
async function prizeOf(client: PatientClient, wish: Wish, bytes: Uint8Array<ArrayBuffer>): Promise<Prize | null> {
  wish.once = true
  const presigned = await client.call(wish.user, '/media/presign', {
    method: 'POST',
    body: JSON.stringify({ filename: wish.name, fileType: 'image/jpeg', size: bytes.length }),
    headers: { 'content-type': 'application/json' },
  })
  if (presigned === null) return null
  const { id, uploadUrl, headers } = presigned.body as { id: string; uploadUrl: string; headers: HeadersInit }
  const put =
    presigned.status === 200 ? await client.put(uploadUrl, { method: 'PUT', headers, body: bytes }) : presigned
  if (put === null || put.status === 200 || put.status === 412) return put && { wish, id }
  unexpected(client, 'presign and PUT', put)
  return null
}

/** What happens to an object that is there. */
async function live(client: PatientClient, wish: Wish, id: string, random: Random): Promise<void> {
  const act = (method: string, path = '', json?: object) =>
    client.call(wish.user, `/media/${id}${path}`, {
      method,
      ...(json && { body: JSON.stringify(json), headers: { 'content-type': 'application/json' } }),
    })

  if (random.chance(0.3)) {
    const name = `${crypto.randomUUID()}.jpg`
    const answer = await act('PATCH', '', { originalName: name })
    if (answer?.status === 200) wish.renamed.push(name)
    else if (answer !== null) unexpected(client, 'patch', answer)
  }
  if (!random.chance(0.4)) return

  const removed = await act('DELETE')
  // A 404 after an attempt with an unknown outcome says that it was deleted then.
  const gone = removed !== null && (removed.status === 204 || (removed.status === 404 && removed.unsure))
  wish.state = gone ? 'deleted' : 'open'
  if (removed !== null && !gone) unexpected(client, 'delete', removed)
  if (!gone || random.chance(0.5)) return

  const restored = await act('POST', '/restore')
  if (restored?.status === 200) wish.state = 'active'
  // 404: the retention time was over, or an attempt before has restored it.
  else if (restored?.status === 404) wish.state = restored.unsure ? 'open' : 'deleted'
  else {
    wish.state = 'open'
    if (restored !== null) unexpected(client, 'restore', restored)
  }
}

function settle(client: PatientClient, wish: Wish, answer: Answer | null, success: number): void {
  if (answer === null) return
  if (wish.hostile && [413, 415, 422].includes(answer.status)) return
  if (answer.status !== success) {
    unexpected(client, 'upload', answer)
    return
  }
  wish.id = String(answer.body.id)
  wish.state = 'active'
}

function unexpected(client: PatientClient, what: string, { status, body, unsure }: Answer): void {
  client.wrong.push(`${what}: ${status} ${JSON.stringify(body)}${unsure ? ' after an unknown outcome' : ''}`)
}

function idempotency({ once, name }: Wish): Record<string, string> {
  return once ? { 'idempotency-key': name } : {}
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
