import { setTimeout as sleep } from 'node:timers/promises'
import { JWT_SECRET } from '../support/http/client.ts'
import { hostilePictures, relatives } from '../support/pictures/hostile/hostile.ts'
import type { Runtime } from '../support/process/service.ts'
import { heldBy } from '../support/process/watch.ts'
import { type Services, startServices } from '../support/services/services.ts'
import { followStream } from './announced.ts'
import { type Damage, noDamage, runChaos } from './chaos.ts'
import { createPatientClient } from './client.ts'
import { watchDeadlocks } from './deadlocks.ts'
import { type HostileFile, runLoad, type Wish } from './load.ts'
import { createRandom } from './random.ts'
import { createReplica, type Replica } from './replica.ts'
import { comeToRest, lookAt, runCommand } from './rest.ts'
import { judge } from './verdict.ts'

/** Lasts for so long, and until so many processes were killed. */
export type SoakOptions = { seconds: number; kills?: number; seed: number; runtimes: readonly [Runtime, ...Runtime[]] }
export type SoakReport = {
  faults: string[]
  damage: Damage
  wishes: Wish[]
  /** Changes that several clients asked for at once, and one of them made. */
  won: number
  events: number
  repeated: number
  peak: number
}

// Longer than an attempt may take: 12 s for the largest file here and 5 s for the database. Upkeep may take what is
// older for dead, and an upload that is still at work would fail (without loss).
const PENDING_SECONDS = 18
const BUCKET = 'soak'
const DECODERS = 1
const DECODER_MEMORY = 832 * 1024 * 1024
/** What a container would need for each replica. */
const MEMORY_LIMIT = 512_000_000 + DECODERS * DECODER_MEMORY
const LARGEST_HOSTILE = 2_000_000
// A client with an Idempotency-Key has to wait until its killed attempt counts as dead.
const PATIENCE_MS = 25_000

/** Kills real processes under load for so long, lets everything come to rest, and looks at what there is. */
export async function soak({ seconds, kills = 0, seed, runtimes }: SoakOptions): Promise<SoakReport> {
  const own = await startServices({})
  const { control } = own
  if (control === undefined) throw new Error('the services are not ours to kill')
  const random = createRandom(seed)
  const env = settings(own)
  const [first, ...others] = await Promise.all(runtimes.map((runtime) => createReplica(runtime, env)))
  if (first === undefined) throw new Error('no replicas')
  const replicas = [first, ...others] as const
  const stream = followStream(own.redisUrl)
  try {
    await Promise.all(replicas.map((replica) => replica.untilReady()))
    const end = Date.now() + seconds * 1000
    const damage = noDamage()
    const goesOn = () => Date.now() < end || damage.kills < kills
    const memory = watchMemory(replicas)
    let giveUpAt = Number.POSITIVE_INFINITY
    const [firstUrl, ...otherUrls] = [first.baseUrl, ...others.map(({ baseUrl }) => baseUrl)] as const
    const client = createPatientClient([firstUrl, ...otherUrls], random, () => giveUpAt)
    // Two of each, so that what they ask for at the same time is the same process', too.
    const rivals = [...replicas, ...replicas].map(({ baseUrl }) =>
      createPatientClient([baseUrl], random, () => giveUpAt),
    )
    const deadlocks = watchDeadlocks(own.databaseUrl)
    const loading = runLoad(client, rivals, random, goesOn, hostileFiles(seed))
    await runChaos({ replicas, control, env }, random, goesOn, damage)
    const lastDamage = Date.now()
    giveUpAt = lastDamage + PATIENCE_MS
    const { wishes, won } = await loading
    const peak = await memory.stop()
    const broken = await deadlocks.stop()
    // Younger bytes may have their row on its way, as far as upkeep can know.
    await sleep(Math.max(0, lastDamage + (PENDING_SECONDS + 1) * 1000 - Date.now()))
    const restless = await comeToRest(env)
    await stream.stop()
    const remains = await lookAt(env)
    const faults = [
      ...[client, ...rivals].flatMap(({ wrong }) => wrong),
      ...(broken > 0 ? [`${broken} deadlocks`] : []),
      ...replicas.flatMap((replica) => replica.faults),
      ...restless,
      ...judge(wishes, stream.events, remains),
      ...(peak > MEMORY_LIMIT ? [`a replica and its decoders held ${Math.round(peak / 1e6)} MB`] : []),
      ...(await runCommand('reconcile', env)),
    ]
    const events = new Set(stream.events.map(({ eventId }) => eventId)).size
    return { faults, damage, wishes, won, events, repeated: stream.events.length - events, peak }
  } finally {
    await Promise.all(replicas.map((replica) => replica.kill()))
    await own.stop()
  }
}

/** The last line of a run. */
export function summary({ faults, damage, wishes, won, events, repeated, peak }: SoakReport): string {
  const { kills, restarts, upkeepsKilled } = damage
  const stored = wishes.filter(({ id }) => id !== undefined).length
  const said = `${kills} service processes killed, ${upkeepsKilled} upkeep commands killed, ${restarts.postgres} Postgres, ${restarts.minio} MinIO and ${restarts.redis} Redis restarts; ${wishes.length} uploads tried, ${stored} answered with success; ${won} changes by one of several at once; ${events} events, ${repeated} sent again; a replica with its decoders held ${Math.round(peak / 1e6)} MB at most`
  return faults.length === 0
    ? `soak: ${said}; none was lost and nothing was left`
    : `soak: ${said}; ${faults.length} FAULTS`
}

function settings({ databaseUrl, redisUrl, s3 }: Services): Record<string, string> {
  return {
    DATABASE_URL: databaseUrl,
    REDIS_URL: redisUrl,
    S3_ENDPOINT: s3.endpoint,
    S3_REGION: s3.region,
    S3_BUCKET: BUCKET,
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    AUTH_JWT_SECRET: JWT_SECRET,
    PUBLIC_BASE_URL: 'http://soak.test',
    PENDING_SECONDS: String(PENDING_SECONDS),
    RETENTION_SECONDS: '5',
    UPLOAD_URL_SECONDS: '60',
    DECODERS: String(DECODERS),
    DECODER_MEMORY_BYTES: String(DECODER_MEMORY),
    // What takes longer is as harmful here, and the run shorter.
    DECODER_CPU_SECONDS: '3',
  }
}

/** Small enough for direct uploads, and some of every kind; those that take a decoder to its limits among them. */
function hostileFiles(seed: number): HostileFile[] {
  const pictures = [...hostilePictures(), ...relatives(seed, 10)]
  return pictures.flatMap(({ mimeType, make }) => {
    const bytes = make()
    return bytes.length <= LARGEST_HOSTILE ? [{ bytes, mimeType }] : []
  })
}

/** Looks at what each replica holds, with its decoders, until `stop`; resolves with the most that one did, in bytes. */
function watchMemory(replicas: readonly Replica[]): { stop: () => Promise<number> } {
  let over = process.platform !== 'linux'
  let peak = 0
  const watching = (async () => {
    while (!over) {
      // One that is killed meanwhile holds nothing.
      const held = replicas.map(({ pid }) => heldBy(pid() ?? 0).catch(() => 0))
      peak = Math.max(peak, ...(await Promise.all(held)))
      await sleep(100)
    }
  })()
  return {
    async stop() {
      over = true
      await watching
      return peak
    },
  }
}
