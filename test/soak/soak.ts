import { setTimeout as sleep } from 'node:timers/promises'
import { S3Client } from '@aws-sdk/client-s3'
import postgres from 'postgres'
import { JWT_SECRET } from '../acceptance/client.ts'
import { type Runtime, repository } from '../acceptance/service.ts'
import { tied } from '../process.ts'
import { type Services, startServices } from '../services/services.ts'
import { followStream } from './announced.ts'
import { type Damage, runChaos } from './chaos.ts'
import { createPatientClient } from './client.ts'
import { runLoad, type Wish } from './load.ts'
import { createRandom } from './random.ts'
import { createReplica } from './replica.ts'
import { gatherRemains, judge } from './verdict.ts'

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
    const restless = await comeToRest(own, env)
    await stream.stop()
    const remains = await lookAt(own)
    const faults = [
      ...client.wrong,
      ...replicas.flatMap((replica) => replica.faults),
      ...restless,
      ...judge(wishes, stream.events, remains),
      ...(await run('reconcile', env)),
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

/** Upkeep until nothing is on its way any more; says what is left when that does not happen. */
async function comeToRest(own: Services, env: Record<string, string>): Promise<string[]> {
  const sql = postgres(own.databaseUrl, { max: 1, onnotice: () => {} })
  try {
    for (let tries = 0; ; tries++) {
      // A purging row stays for an hour after the last moment at which its link or its PUT can have begun. No client
      // sends any more and no PUT can still run, so that hour may be over: then the row has to go, and its bytes.
      await sql`UPDATE media_objects SET links_until = now() - interval '1 second', upkeep_due_at = now()
        WHERE status = 'purging'`
      const failed = await run('upkeep', env)
      const left = await sql`SELECT status, count(*)::int FROM media_objects
        WHERE status <> 'active' OR outbox <> '[]' GROUP BY status`
      if (failed.length === 0 && left.length === 0) return []
      if (tries === 10) return [...failed, `not at rest: ${JSON.stringify(left)}`]
      await sleep(500)
    }
  } finally {
    await sql.end({ timeout: 1 })
  }
}

async function lookAt({ databaseUrl, s3 }: Services) {
  const { endpoint, region, ...credentials } = s3
  const sql = postgres(databaseUrl, { max: 1 })
  const store = new S3Client({ endpoint, region, credentials, forcePathStyle: true })
  try {
    return await gatherRemains(sql, store, BUCKET)
  } finally {
    store.destroy()
    await sql.end({ timeout: 1 })
  }
}

/** One of the service's commands; what it wrote when it ended badly. */
async function run(command: 'upkeep' | 'reconcile', env: Record<string, string>): Promise<string[]> {
  const { PATH, HOME, TMPDIR } = process.env
  const child = Bun.spawn(tied([process.execPath, '--no-env-file', `src/cli/${command}.ts`]), {
    cwd: repository,
    env: { PATH, HOME, TMPDIR, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [code, out, err] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  if (command === 'reconcile' && !out.includes('0 differences; 0 foreign keys')) return [`reconcile: ${out}${err}`]
  return code === 0 ? [] : [`${command} ended with ${code}: ${out}${err}`]
}
