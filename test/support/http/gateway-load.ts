import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Wish } from '../../soak/load.ts'
import { readCorpus } from '../pictures/corpus.ts'
import { tokenFor } from './client.ts'
import { multipart } from './multipart.ts'

export type GatewayLoad = {
  /** What the clients wanted stored, and what they may rely on by now. */
  readonly wishes: Wish[]
  /** What no client should ever see, a line each. */
  readonly faults: string[]
  /** How many uploads, completions and presigns had to be sent again. */
  repeated(): number
  /** Begins so many uploads at once, beside all the rest. */
  burst(count: number): void
  /** Begins nothing more; resolves when everything that was begun has come to its end. */
  stop(): Promise<void>
}

const WORKERS = 8
// A killed attempt counts as dead after its own deadlines: 11 s for a small file, and 5 s for the database.
const PATIENCE_MS = 30_000
const LONGEST_PAUSE_MS = 500

/**
 * Clients of the gateway that send GET and DELETE once, and repeat what failed only where that is safe: POST with an
 * Idempotency-Key, and `complete`.
 */
export async function startGatewayLoad(baseUrl: string): Promise<GatewayLoad> {
  const picture = await readCorpus('accept/rocket.jpg')
  const wishes: Wish[] = []
  const faults: string[] = []
  let repeated = 0
  let stopping = false

  /** Sends it once; an answer that is not one of `expected` is a fault. */
  async function once(as: string, method: string, path: string, ...expected: number[]): Promise<Response> {
    const response = await send(as, path, { method })
    if (!expected.includes(response.status))
      faults.push(`${method} ${path}: ${response.status} ${await response.clone().text()}`)
    return response
  }

  /** Sends it until it gets this answer, as long as what it gets instead asks for that. */
  async function patiently<T>(as: string, path: string, expected: number, init: RequestInit): Promise<T> {
    for (const end = Date.now() + PATIENCE_MS; ; repeated += 1) {
      const response = await send(as, path, { ...init, method: 'POST' })
      const text = await response.text()
      if (response.status === expected) return JSON.parse(text)
      const pause = Number(response.headers.get('retry-after')) * 1000
      const atWork = response.status === 409 && text.includes('"state_conflict"')
      const again = pause > 0 && (atWork || [502, 503, 504].includes(response.status))
      if (!again || Date.now() > end) throw new Error(`POST ${path}: ${response.status} ${text}`)
      await sleep(Math.min(pause, LONGEST_PAUSE_MS))
    }
  }

  async function send(as: string, path: string, init: RequestInit): Promise<Response> {
    const headers = { ...init.headers, authorization: `Bearer ${await tokenFor(as)}` }
    return fetch(baseUrl + path, { ...init, headers, redirect: 'manual' }).catch((error) => {
      throw new Error(`${init.method} ${path}: ${error}`)
    })
  }

  async function store(bytes: Uint8Array<ArrayBuffer>, { user, name }: Wish, direct: boolean): Promise<string> {
    const key = { 'idempotency-key': name }
    if (direct) {
      const form = multipart([{ name: 'file', filename: name, type: 'image/jpeg', content: bytes }])
      const init = { body: form.body, headers: { ...form.headers, ...key } }
      return (await patiently<{ id: string }>(user, '/media/upload', 201, init)).id
    }
    const declared = { filename: name, fileType: 'image/jpeg', size: bytes.length }
    const presign = { body: JSON.stringify(declared), headers: { 'content-type': 'application/json', ...key } }
    type Link = { id: string; uploadUrl: string; headers: Record<string, string> }
    const { id, uploadUrl, headers } = await patiently<Link>(user, '/media/presign', 200, presign)
    // Straight to the store, past the gateway. A connection that breaks may have brought the bytes: 412 then.
    const put = () => fetch(uploadUrl, { method: 'PUT', headers, body: bytes })
    const { status } = await put().catch(put)
    if (status !== 200 && status !== 412) throw new Error(`PUT to the store: ${status}`)
    await patiently(user, `/media/${id}/complete`, 200, {})
    return id
  }

  async function live(wish: Wish, id: string): Promise<void> {
    const { user } = wish
    const object = await (await once(user, 'GET', `/media/${id}`, 200)).json()
    if (object.originalName !== wish.name) faults.push(`${id} is called ${object.originalName}, not ${wish.name}`)
    const { items } = await (await once(user, 'GET', '/media', 200)).json()
    if (items?.length !== 1 || items[0].id !== id) faults.push(`a list without ${id}: ${JSON.stringify(items)}`)
    await once(user, 'GET', `/media/${id}/content`, 302)
    if (wishes.length % 3 !== 0) return
    // 404: the gateway has sent it to another replica, after one that died when it had done it.
    await once(user, 'DELETE', `/media/${id}`, 204, 404)
    wish.state = 'deleted'
    await once(user, 'GET', `/media/${id}`, 404)
  }

  async function life(): Promise<void> {
    // Bytes of its own behind the picture's end, which viewers ignore: no two are the same.
    const bytes = new Uint8Array(Buffer.concat([picture, randomBytes(32)]))
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const name = `${crypto.randomUUID()}.jpg`
    const wish: Wish = { user: crypto.randomUUID(), name, sha256, once: true, state: 'open', renamed: [] }
    wishes.push(wish)
    try {
      wish.id = await store(bytes, wish, wishes.length % 2 === 0)
      wish.state = 'active'
      await live(wish, wish.id)
    } catch (error) {
      faults.push(String(error))
    }
  }

  async function work(): Promise<void> {
    while (!stopping) await life()
  }

  const running = Array.from({ length: WORKERS }, work)
  return {
    wishes,
    faults,
    repeated: () => repeated,
    burst: (count) => void running.push(...Array.from({ length: count }, life)),
    async stop() {
      stopping = true
      await Promise.all(running)
    },
  }
}
