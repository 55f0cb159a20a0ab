import { setTimeout as sleep } from 'node:timers/promises'
import { JWT_SECRET } from '../acceptance/client.ts'
import type { Runtime } from '../acceptance/service.ts'
import { type Services, startServices } from '../services/services.ts'
import { followStream } from './announced.ts'
import { type Damage, runChaos } from './chaos.ts'
import { createPatientClient } from './client.ts'
import { runLoad, type Wish } from './load.ts'
import { createRandom } from './random.ts'
import { createReplica } from './replica.ts'
import { comeToRest, lookAt, runCommand } from './rest.ts'
import { judge } from './verdict.ts'

export type SoakOptions = { seconds: number; seed: number; runtimes: readonly [Runtime, ...Runtime[]] }
export type SoakReport = { faults: string[]; damage: Damage; wishes: Wish[]; events: number; repeated: number }

// Longer than an attempt may take: 12 s for the largest file here and 5 s for the database. Upkeep may take what is
// older for dead, and an upload that is still at work would fail (without loss).
const PENDING_SECONDS = 18
const BUCKET = 'soak'
// A client with an Idempotency-Key has to wait until its killed attempt counts as dead.
const PATIENCE_MS = 25_000

/** Kills real processes under load for so long, lets everything come to rest, and looks at what there is. */
export async function soak({ seconds, seed, runtimes }: SoakOptions): Promise<SoakReport> {
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
    const goesOn = () => Date.now() < end
    let giveUpAt = Number.POSITIVE_INFINITY
    const [firstUrl, ...otherUrls] = [first.baseUrl, ...others.map(({ baseUrl }) => baseUrl)] as const
    const client = createPatientClient([firstUrl, ...otherUrls], random, () => giveUpAt)
    const loading = runLoad(client, random, goesOn)
    const damage = await runChaos({ replicas, control, env }, random, goesOn)
    const lastDamage = Date.now()
    giveUpAt = lastDamage + PATIENCE_MS
    const wishes = await loading
    // Younger bytes may have their row on its way, as far as upkeep can know.
    await sleep(Math.max(0, lastDamage + (PENDING_SECONDS + 1) * 1000 - Date.now()))
    const restless = await comeToRest(env)
    await stream.stop()
    const remains = await lookAt(env)
    const faults = [
      ...client.wrong,
      ...replicas.flatMap((replica) => replica.faults),
      ...restless,
      ...judge(wishes, stream.events, remains),
      ...(await runCommand('reconcile', env)),
    ]
    const events = new Set(stream.events.map(({ eventId }) => eventId)).size
    return { faults, damage, wishes, events, repeated: stream.events.length - events }
  } finally {
    await Promise.all(replicas.map((replica) => replica.kill()))
    await own.stop()
  }
}

/** The last line of a run. */
export function summary({ faults, damage, wishes, events, repeated }: SoakReport): string {
  const { kills, restarts, upkeepsKilled } = damage
  const stored = wishes.filter(({ id }) => id !== undefined).length
  const said = `${kills} service processes killed, ${upkeepsKilled} upkeep commands killed, ${restarts.postgres} Postgres, ${restarts.minio} MinIO and ${restarts.redis} Redis restarts; ${wishes.length} uploads tried, ${stored} answered with success; ${events} events, ${repeated} sent again`
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
  }
}
