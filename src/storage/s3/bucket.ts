/**
 * Prepares the bucket at start: creates it if it is missing, and tests which conditions of links the store enforces.
 */
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
import { deadline } from '../../deadline.ts'
import { type SignPut, STORE_DEADLINE_MS, type Storage } from '../storage.ts'
import { createClient, reach } from './client.ts'
import { probeClientHeaders } from './headers.ts'
import type { S3Settings } from './settings.ts'
import type { StoreTraits } from './signing.ts'
import { createS3Storage } from './storage.ts'

/** `unguarded`: client headers that links cannot be signed against. */
export type FoundTraits = StoreTraits & { server: string | null; unguarded: string[] }

/**
 * Creates the bucket if it is missing and the key may create it (several replicas may try at once), and tests on it
 * what upload links have to enforce. `server`: the store's `Server` header. Throws Problem `storage_unavailable` when
 * the store cannot be reached or used.
 */
export async function prepareBucket(config: S3Settings): Promise<FoundTraits> {
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

async function createBucket(client: S3Client, { bucket, region }: S3Settings, abortSignal: AbortSignal): Promise<void> {
  // us-east-1 is the only region that AWS refuses as a location constraint.
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

/** Uploads a few bytes in ways that links should refuse, and removes them at once. */
async function probe(client: S3Client, config: S3Settings, signal: AbortSignal): Promise<FoundTraits> {
  const { bucket: Bucket } = config
  // The key has the form of an object's, so upkeep removes it as an orphan if the process dies here.
  const prefix = `media/${uuidv7()}/`
  const [source, copied, twice, checked] = ['source', 'copied', 'twice', 'checked'].map((name) => prefix + name)
  const storages = new Map<string, Storage>()
  const storageFor = (guards: readonly string[]) => {
    const made = storages.get(guards.join())
    if (made !== undefined) return made
    const storage = createS3Storage({ ...config, publicEndpoint: config.endpoint }, { ...UNTESTED, guards })
    storages.set(guards.join(), storage)
    return storage
  }
  const storage = storageFor([])
  let server: string | null = null
  const accepts = async (key = '', bound: Partial<SignPut> = {}, extra: Record<string, string> = {}) => {
    const { url, headers } = await storage.signPut(key, { ...UNBOUND, ...bound })
    const answer = await fetch(url, { method: 'PUT', headers: { ...headers, ...extra }, body: 'probe', signal })
    await answer.body?.cancel()
    server = answer.headers.get('server')
    return answer.ok
  }
  try {
    await client.send(new PutObjectCommand({ Bucket, Key: source, Body: 'probe' }), { abortSignal: signal })
    await accepts(twice)
    const [copies, again, wrong, { unguarded, ...said }] = await Promise.all([
      accepts(copied, {}, { 'x-amz-copy-source': `/${Bucket}/${source}` }),
      accepts(twice),
      accepts(checked, { sha256: '0'.repeat(64) }),
      probeClientHeaders({
        ...{ client, bucket: Bucket, prefix, signal },
        sign: (key, guards) => storageFor(guards).signPut(key, UNBOUND),
      }),
    ])
    return { guardCopies: copies, enforces: { once: !again, checksum: !wrong }, server, unguarded, ...said }
  } finally {
    await storage.removePrefix(prefix)
    for (const each of storages.values()) each.close()
  }
}

const UNTESTED = { guardCopies: false, storageClass: '', enforces: { once: true, checksum: true } }
const UNBOUND: SignPut = { expiresIn: 60, contentType: 'text/plain', size: undefined, sha256: undefined }
