import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { type MediaObject, newUser } from '../support/http/client.ts'
import { hostilePictures, relatives } from '../support/pictures/hostile/hostile.ts'
import type { Hostile } from '../support/pictures/hostile/kind.ts'
import { openStage, runtime, type Stage } from '../support/process/acceptance.ts'
import { longForms } from '../support/process/long.ts'
import { heldBy, type Seen, watchWhile } from '../support/process/watch.ts'
import { haveServices } from '../support/services/shared.ts'

const MiB = 1024 * 1024
const UPLOAD_MEMORY = 128 * MiB
const DECODER_MEMORY = 832 * MiB
const DECODERS = 2
const MARGIN = 64 * MiB
/**
 * CPU of the main thread while one request waits, which is at least that between two turns of its event loop. Deno 2.9
 * takes several turns before it looks at the network, and reads and searches a body in JavaScript.
 */
const LONGEST_STRETCH_MS = runtime === 'bun' ? 50 : 400
const SEED = Number(process.env.HOSTILE_SEED ?? 20261128)
const RELATIVES = Number(process.env.HOSTILE_RELATIVES ?? 6)

/** Statuses that say no, or not now, of a file; anything else is a fault. */
const REFUSALS = [413, 415, 422, 429, 503]

/**
 * Each file is uploaded, looked at by strangers and rendered for its owner, while somebody else goes on uploading. Without
 * the limits of the decoder processes, or with decoding in the serving process, rows of this table fail by memory, by the
 * stretch, or by the uploads of others.
 */
describe.skipIf(!(await haveServices()) || process.platform !== 'linux')('a hostile file', () => {
  let stage: Stage
  let idle = 0
  const rows: string[] = []
  beforeAll(async () => {
    stage = await openStage({
      ...{ RATE_LIMIT_PER_MINUTE: '0', MAX_UPLOAD_BYTES: String(64 * MiB), UPLOAD_MEMORY_BYTES: String(UPLOAD_MEMORY) },
      ...{ DECODERS: String(DECODERS), DECODER_MEMORY_BYTES: String(DECODER_MEMORY), DECODER_CPU_SECONDS: '2' },
    })
    // What is compiled and filled at the first requests is not what a file costs.
    await honestly(new AbortController(), 40)
    idle = await heldBy(stage.service.pid)
  }, 60_000)
  afterAll(async () => {
    console.log(`\n${header()}\n${rows.join('\n')}`)
    await stage?.close()
  }, 60_000)

  const limit = () => idle + UPLOAD_MEMORY + DECODERS * DECODER_MEMORY + MARGIN

  for (const picture of [...chosen(hostilePictures()), ...relatives(SEED, RELATIVES)]) {
    test(`${picture.name} hurts nobody else`, async () => {
      // Made before anybody looks at the time: it takes this process up to a second.
      const bytes = picture.make()
      await expectHarmless(picture.name, () => attack(bytes, picture.mimeType))
    }, 120_000)
  }

  test('and neither do 32 first renditions of 12 megapixels at once', async () => {
    const user = newUser()
    const noise = { type: 'gaussian', mean: 128, sigma: 20 } as const
    const large = await sharp({ create: { width: 4000, height: 3000, channels: 3, background: '#888', noise } })
      .jpeg({ quality: 70 })
      .toBuffer()
    const ids: string[] = []
    for (let i = 0; i < 32; i++) {
      const answer = await stage.upload(user, new Uint8Array(large))
      ids.push(((await answer.json()) as MediaObject).id)
    }
    await expectHarmless('32 first renditions at once', async (time) => {
      const statuses = await Promise.all(
        ids.map(async (id) => {
          const answer = await stage.call(`/media/${id}/content?w=${[640, 960, 1280][time]}`, { as: user })
          await answer.body?.cancel()
          return answer.status
        }),
      )
      for (const status of statuses) expect([302, 503]).toContain(status)
      expect(statuses).toContain(302)
      return `${statuses.filter((status) => status === 302).length} made`
    })
  }, 120_000)

  /** Uploads it, and has it decoded in each way there is. Returns what came of it. */
  async function attack(bytes: Uint8Array<ArrayBuffer>, mimeType: string): Promise<string> {
    const user = newUser()
    const uploaded = await stage.upload(user, bytes, { type: mimeType, fields: { visibility: 'public' } })
    if (uploaded.status !== 201) {
      expect(REFUSALS).toContain(uploaded.status)
      return `upload ${uploaded.status} ${((await uploaded.json()) as { code: string }).code}`
    }
    const { id } = (await uploaded.json()) as MediaObject
    const statuses: number[] = []
    for (const [query, as] of [
      ['', undefined],
      ['?w=160', undefined],
      ['?w=640', user],
    ] as const) {
      const answer = await stage.call(`/media/${id}/content${query}`, as === undefined ? {} : { as })
      await answer.body?.cancel()
      statuses.push(answer.status)
    }
    for (const status of statuses) expect([302, ...REFUSALS]).toContain(status)
    expect((await stage.get(user, id)).status).toBe(200)
    return `201, content ${statuses.join(' ')}`
  }

  /** Somebody else's uploads, each of which has to succeed. */
  async function honestly(
    { signal }: Pick<AbortController, 'signal'>,
    most = Number.POSITIVE_INFINITY,
  ): Promise<number> {
    const user = newUser()
    let count = 0
    while (!signal.aborted && count < most) {
      const answer = await stage.upload(user, 'accept/rocket.jpg')
      if (answer.status !== 201)
        throw new Error(`an honest upload was answered ${answer.status}: ${await answer.text()}`)
      await answer.body?.cancel()
      count += 1
      await sleep(50)
    }
    return count
  }

  /** Of up to three times, for what else the machine does only adds to what is seen; memory has to hold each time. */
  async function expectHarmless(name: string, work: (time: number) => Promise<string>): Promise<void> {
    let least = Number.POSITIVE_INFINITY
    for (let time = 0; time < 3 && least >= LONGEST_STRETCH_MS; time++) {
      const { peak, stretchMs } = await watched(name, () => work(time))
      expect(peak).toBeLessThan(limit())
      least = Math.min(least, stretchMs)
    }
    expect(least).toBeLessThan(LONGEST_STRETCH_MS)
  }

  async function watched(name: string, work: () => Promise<string>): Promise<Seen> {
    const over = new AbortController()
    let outcome = ''
    let others = 0
    const seen: Seen = await watchWhile(stage.service, async () => {
      const uploading = honestly(over)
      try {
        outcome = await Promise.race([work(), uploading.then(() => '')])
      } finally {
        over.abort()
        others = await uploading
      }
    })
    rows.push(rowOf(name, seen, others, outcome))
    return seen
  }

  function header(): string {
    const mb = (bytes: number) => Math.round(bytes / 1e6)
    return `idle ${mb(idle)} MB, limit ${mb(limit())} MB, longest stretch ${LONGEST_STRETCH_MS} ms of CPU (seed ${SEED})\n| file | peak MB | stretch ms | slowest /health/live ms | uploads of others | outcome |\n|---|--:|--:|--:|--:|---|`
  }
})

/**
 * On Deno one of each kind of picture for each place where they end, which is all in which the runtimes differ: how a body
 * comes in, how fast headers are read, and the limits of the process that decodes. The long form has all of them.
 */
function chosen(pictures: Hostile[]): Hostile[] {
  if (runtime === 'bun' || longForms) return pictures
  const placeOf = ({ door, structure }: Hostile) => (door ? 'door' : structure ? 'structure' : 'decoder')
  const groups = Map.groupBy(pictures, (picture) => `${picture.mimeType} ${placeOf(picture)}`)
  return [...groups.values()].flatMap(([first]) => (first ? [first] : []))
}

function rowOf(name: string, { peak, stretchMs, slowestMs }: Seen, others: number, outcome: string): string {
  const figures = [peak / 1e6, stretchMs, slowestMs].map((figure) => figure.toFixed(0))
  return `| ${name} | ${figures.join(' | ')} | ${others} | ${outcome} |`
}
