import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { newUser } from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { openStage, type Stage } from '../support/process/acceptance.ts'
import { MB, openFilesOf, residentOf } from '../support/process/process-memory.ts'

/** What a service holds: bytes of memory, open files, and connections to the database. */
export type Holding = { memory: number; files: number; connections: number }
export type Endurance = { requests: number; before: Holding; after: Holding; faults: string[] }

const WORKERS = 16
const SAMPLES = 5

/**
 * Sends mixed requests to one service, and looks at what it holds after the first `warmUp` of them and at the end. An
 * answer that was not to be expected is a fault.
 */
export async function endure({ requests, warmUp }: { requests: number; warmUp: number }): Promise<Endurance> {
  const stage = await openStage({ RATE_LIMIT_PER_MINUTE: '0', LOG_LEVEL: 'warn' })
  try {
    const faults: string[] = []
    const sent = { count: 0 }
    await run(stage, sent, warmUp, faults)
    const before = await holdingOf(stage)
    await run(stage, sent, requests, faults)
    return { requests: sent.count, before, after: await holdingOf(stage), faults }
  } finally {
    await stage.close()
  }
}

export function summary({ requests, before, after }: Endurance): string {
  const shown = ({ memory, files, connections }: Holding) =>
    `${Math.round(memory / MB)} MB, ${files} open files, ${connections} connections to the database`
  return `endurance: ${requests} requests; ${shown(before)} after the first, ${shown(after)} at the end`
}

/** Until so many have been sent in all. */
async function run(stage: Stage, sent: { count: number }, until: number, faults: string[]): Promise<void> {
  const picture = await readCorpus('accept/rocket.jpg')
  const worker = async () => {
    const user = newUser()
    while (sent.count < until) {
      for await (const [wanted, response] of life(stage, user, picture)) {
        sent.count += 1
        await response.arrayBuffer()
        if (response.status !== wanted) faults.push(`${response.url}: ${response.status} instead of ${wanted}`)
      }
    }
  }
  await Promise.all(Array.from({ length: WORKERS }, worker))
}

/** What happens to one object, and what is refused beside it: each answer with the status it should have. */
async function* life(stage: Stage, user: string, picture: Uint8Array<ArrayBuffer>): AsyncGenerator<[number, Response]> {
  const uploaded = await stage.upload(user, picture)
  const { id } = await uploaded.clone().json()
  yield [201, uploaded]
  yield [200, await stage.get(user, id)]
  yield [302, await stage.call(`/media/${id}/content`, { as: user })]
  yield [200, await stage.call('/media?limit=20', { as: user })]
  yield [200, await stage.patch(user, id, { originalName: 'another.jpg' })]
  yield [204, await stage.remove(user, id)]
  yield [200, await stage.restore(user, id)]
  yield [404, await stage.get(newUser(), id)]
  yield [401, await stage.call(`/media/${id}`)]
  yield [415, await stage.upload(user, new TextEncoder().encode('no picture at all'))]
  yield [400, await stage.call('/media?limit=0', { as: user })]
  const presigned = await stage.presign(user, { filename: 'a.jpg', fileType: 'image/jpeg' })
  const link = await presigned.clone().json()
  yield [200, presigned]
  yield [200, await stage.put(link, picture)]
  yield [200, await stage.complete(user, link.id)]
  yield [204, await stage.remove(user, link.id)]
}

/** The least of a few looks: what is about to be freed does not count. */
async function holdingOf({ service, env }: Stage): Promise<Holding> {
  const sql = postgres(env.DATABASE_URL ?? '', { max: 1 })
  const looks: Holding[] = []
  for (let i = 0; i < SAMPLES; i++) {
    await sleep(500)
    const [row] = await sql<{ connections: number }[]>`
      SELECT count(*)::int - 1 AS connections FROM pg_stat_activity WHERE datname = current_database()`
    const [memory, files] = [await residentOf(service.pid), await openFilesOf(service.pid)]
    looks.push({ memory, files, connections: row?.connections ?? 0 })
  }
  await sql.end()
  const least = (figure: (look: Holding) => number) => Math.min(...looks.map(figure))
  return { memory: least((l) => l.memory), files: least((l) => l.files), connections: least((l) => l.connections) }
}
