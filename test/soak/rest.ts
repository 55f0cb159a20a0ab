import { setTimeout as sleep } from 'node:timers/promises'
import { S3Client } from '@aws-sdk/client-s3'
import postgres from 'postgres'
import { tied } from '../support/process/process.ts'
import { repository } from '../support/repository.ts'
import { gatherRemains, type Remains } from './verdict.ts'

/** The settings of the services whose remains these are. */
type Env = Record<string, string>

/** Upkeep until nothing is on its way any more; says what is left when that does not happen. */
export async function comeToRest(env: Env): Promise<string[]> {
  const sql = postgres(env.DATABASE_URL ?? '', { max: 1, onnotice: () => {} })
  try {
    for (let tries = 0; ; tries++) {
      // A purging row stays for an hour after the last moment at which its link or its PUT can have begun. No client
      // sends any more and no PUT can still run, so that hour may be over: then the row has to go, and its bytes.
      await sql`UPDATE media_objects SET links_until = now() - interval '1 second', upkeep_due_at = now()
        WHERE status = 'purging'`
      const failed = await runCommand('upkeep', env)
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

/** All rows, and all bytes of the bucket. */
export async function lookAt(env: Env): Promise<Remains> {
  const { DATABASE_URL = '', S3_ENDPOINT: endpoint = '', S3_REGION: region = '', S3_BUCKET = '' } = env
  const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' } = env
  const sql = postgres(DATABASE_URL, { max: 1 })
  const store = new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true })
  try {
    return await gatherRemains(sql, store, S3_BUCKET)
  } finally {
    store.destroy()
    await sql.end({ timeout: 1 })
  }
}

/** One of the service's commands; what it wrote when it ended badly, or found differences. */
export async function runCommand(command: 'upkeep' | 'reconcile', env: Env): Promise<string[]> {
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
