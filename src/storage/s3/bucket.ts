/**
 * Prepares the bucket at start: creates it if it is missing, and tests which conditions of links the store enforces.
 */
import {
  type BucketLocationConstraint,
  CreateBucketCommand,
  ListObjectsV2Command,
  NoSuchBucket,
  type S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import { deadline } from '../../deadline.ts'
import { STORE_DEADLINE_MS } from '../storage.ts'
import { createClient, reach } from './client.ts'
import { type FoundTraits, probe } from './probe.ts'
import { explainRefusals } from './refusals.ts'
import type { S3Settings } from './settings.ts'

// A far store takes a few tenths of a second for each call, one after the other.
const PREPARE_MS = 3 * STORE_DEADLINE_MS

/**
 * Creates the bucket if it is missing and the key may create it (several replicas may try at once), and tests on it
 * what the store enforces.
 * @param options `cdnBaseUrl`: the CDN in front of public/, to be tested as well
 * @throws StoreUnfit if the store refuses a call that the service needs, or Problem `storage_unavailable` when it
 * cannot be reached or used
 */
export async function prepareBucket(
  config: S3Settings,
  { cdnBaseUrl }: { cdnBaseUrl?: string | undefined } = {},
): Promise<FoundTraits> {
  const client = createClient(config)
  explainRefusals(client, config)
  const signal = deadline(PREPARE_MS)
  try {
    return await reach(async () => {
      await findBucket(client, config, signal)
      return await probe({ client, config, cdnBaseUrl, signal })
    })
  } finally {
    client.destroy()
  }
}

/** By a listing, because the answer to a HEAD has no body, so that it says nothing about the cause of a refusal. */
async function findBucket(client: S3Client, config: S3Settings, abortSignal: AbortSignal): Promise<void> {
  const list = new ListObjectsV2Command({ Bucket: config.bucket, Prefix: 'media/', MaxKeys: 1 })
  try {
    await client.send(list, { abortSignal })
  } catch (error) {
    if (!(error instanceof NoSuchBucket)) throw error
    await createBucket(client, config, abortSignal)
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
    if (!(error instanceof S3ServiceException) || !EXISTS.has(error.name)) throw error
  }
}

// Another replica has just made it; or it belongs to others, which the probe then finds out.
const EXISTS = new Set(['BucketAlreadyOwnedByYou', 'BucketAlreadyExists'])
