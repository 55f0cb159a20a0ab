import {
  DeleteBucketCommand,
  DeleteObjectsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  NoSuchBucket,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3'
import { services } from './shared.ts'

/** A name for a bucket of a suite's own. The bucket itself is made by who tests that. */
export function createBucketName(): string {
  return `test-${crypto.randomUUID()}`
}

/** Empties and removes a bucket; one that was never made is fine. */
export async function removeBucket(name: string): Promise<void> {
  const client = await s3Client()
  try {
    for await (const page of paginateListObjectsV2({ client }, { Bucket: name })) {
      const keys = (page.Contents ?? []).map(({ Key }) => ({ Key }))
      if (keys.length === 0) continue
      const { Errors = [] } = await client.send(new DeleteObjectsCommand({ Bucket: name, Delete: { Objects: keys } }))
      if (Errors.length > 0) throw new Error(`Cannot empty ${name}: ${JSON.stringify(Errors[0])}`)
    }
    await client.send(new DeleteBucketCommand({ Bucket: name }))
  } catch (error) {
    if (!(error instanceof NoSuchBucket)) throw error
  } finally {
    client.destroy()
  }
}

/**
 * The keys of objects in the bucket, and of unfinished uploads.
 * @param begun the keys of uploads to look for: MinIO lists those of an exact key only
 */
export async function leftIn(Bucket: string, begun: Iterable<string>): Promise<string[]> {
  const client = await s3Client()
  try {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }))
    const uploads = [...begun].map((Prefix) => client.send(new ListMultipartUploadsCommand({ Bucket, Prefix })))
    const unfinished = (await Promise.all(uploads)).flatMap(({ Uploads = [] }) => Uploads)
    return [...Contents, ...unfinished].map(({ Key = '' }) => Key)
  } finally {
    client.destroy()
  }
}

/** A client of the shared store with its root account. `destroy()` it when done. */
export async function s3Client(): Promise<S3Client> {
  const { endpoint, region, accessKeyId, secretAccessKey } = (await services()).s3
  return new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
}
