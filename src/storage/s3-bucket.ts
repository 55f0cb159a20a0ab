/** The bucket at start: made where it is missing, and found out what the store enforces. */
import {
  type BucketLocationConstraint,
  CreateBucketCommand,
  HeadBucketCommand,
  NotFound,
  PutObjectCommand,
  type S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import { v7 as uuidv7 } from 'uuid'
import type { S3Config } from '../config.ts'
import { deadline } from '../deadline.ts'
import { createS3Storage, type StoreTraits } from './s3.ts'
import { createClient, reach } from './s3-client.ts'
import { type SignPut, STORE_DEADLINE_MS } from './storage.ts'

/**
 * Creates the bucket when it is missing and may be (several replicas may try at once), and tries on it what links to
 * upload are to enforce. `server` is what the store calls itself. Throws Problem `storage_unavailable` when it cannot be reached or used so.
 */
export async function prepareBucket(config: S3Config): Promise<StoreTraits & { server: string | null }> {
  const client = createClient(config)
  const abortSignal = deadline(STORE_DEADLINE_MS)
  try {
    return await reach(async () => {
      try {
        await client.send(new HeadBucketCommand({ Bucket: config.bucket }), { abortSignal })
      } catch (error) {
        if (!(error instanceof NotFound)) throw error
        await createBucket(client, config, abortSignal)
      }
      return await probe(client, config, abortSignal)
    })
  } finally {
    client.destroy()
  }
}

async function createBucket(client: S3Client, { bucket, region }: S3Config, abortSignal: AbortSignal): Promise<void> {
  // us-east-1 is the one region that AWS refuses as a constraint.
  const where =
    region === 'us-east-1'
      ? {}
      : { CreateBucketConfiguration: { LocationConstraint: region as BucketLocationConstraint } }
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket, ...where }), { abortSignal })
  } catch (error) {
    if (!(error instanceof S3ServiceException) || error.name !== 'BucketAlreadyOwnedByYou') throw error
  }
}

/** Uploads a few bytes in ways that a link should refuse; and removes them at once. */
async function probe(client: S3Client, config: S3Config, signal: AbortSignal) {
  const { bucket: Bucket } = config
  // As an object that has no row: upkeep removes what a process that dies here leaves.
  const prefix = `media/${uuidv7()}/`
  const keys = [`${prefix}source`, `${prefix}copied`, `${prefix}twice`, `${prefix}checked`] as const
  const [source, copied, twice, checked] = keys
  const untested = { guardCopies: false, enforces: { once: true, checksum: true } }
  const storage = createS3Storage({ ...config, publicEndpoint: config.endpoint }, untested)
  let server: string | null = null
  const accepts = async (key: string, bound: Partial<SignPut>, extra: Record<string, string> = {}) => {
    const link = { expiresIn: 60, contentType: 'text/plain', size: undefined, sha256: undefined, ...bound }
    const { url, headers } = await storage.signPut(key, link)
    const answer = await fetch(url, { method: 'PUT', headers: { ...headers, ...extra }, body: 'probe', signal })
    await answer.body?.cancel()
    server = answer.headers.get('server')
    return answer.ok
  }
  try {
    await client.send(new PutObjectCommand({ Bucket, Key: source, Body: 'probe' }), { abortSignal: signal })
    await accepts(twice, {})
    const [copies, again, wrong] = await Promise.all([
      accepts(copied, {}, { 'x-amz-copy-source': `/${Bucket}/${source}` }),
      accepts(twice, {}),
      accepts(checked, { sha256: '0'.repeat(64) }),
    ])
    return { guardCopies: copies, enforces: { once: !again, checksum: !wrong }, server }
  } finally {
    await storage.remove(keys)
    storage.close()
  }
}
