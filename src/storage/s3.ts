/** Any S3-compatible store. The one module that knows the AWS SDK. */
import {
  type BucketLocationConstraint,
  CreateBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  NotFound,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import type { S3Config } from '../config.ts'
import { deadline } from '../deadline.ts'
import { Problem } from '../problem.ts'
import { putDeadlineMs, STORE_DEADLINE_MS, type Storage } from './storage.ts'

/**
 * Two clients, because the service and the browser reach the store under different names in every real
 * deployment, and the name is part of what is signed.
 */
export function createS3Storage(config: S3Config): Storage {
  const { bucket } = config
  const client = createClient(config, config.endpoint)
  const signer = createClient(config, config.publicEndpoint)

  const list: Storage['list'] = async ({ prefix, startAfter, limit, signal }) => {
    const command = new ListObjectsV2Command({
      Bucket: bucket,
      Prefix: prefix,
      StartAfter: startAfter,
      MaxKeys: limit,
    })
    const { Contents = [] } = await reach(() =>
      client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) }),
    )
    return Contents.flatMap(({ Key, Size, LastModified }) =>
      Key === undefined ? [] : [{ key: Key, size: Size ?? 0, lastModified: LastModified ?? new Date(0) }],
    )
  }

  return {
    name: 's3',

    async put(key, bytes, { contentType, signal }) {
      const command = new PutObjectCommand({
        Bucket: bucket,
        Key: key,
        Body: bytes,
        ContentLength: bytes.length,
        ContentType: contentType,
      })
      await reach(() => client.send(command, { abortSignal: deadline(putDeadlineMs(bytes.length), signal) }))
    },

    async head(key, { signal } = {}) {
      const command = new HeadObjectCommand({ Bucket: bucket, Key: key })
      const found = await reach(async () => {
        try {
          return await client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) })
        } catch (error) {
          if (error instanceof NotFound) return null
          throw error
        }
      })
      return found === null ? null : { size: found.ContentLength ?? 0, contentType: found.ContentType ?? '' }
    },

    async read(key, { start, length, signal }) {
      const range = `bytes=${start}-${start + length - 1}`
      const command = new GetObjectCommand({ Bucket: bucket, Key: key, Range: range })
      const bytes = await reach(async () => {
        const answer = await client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) })
        return answer.Body?.transformToByteArray()
      })
      return bytes ?? new Uint8Array()
    },

    list,

    async removePrefix(prefix, { signal } = {}) {
      for (;;) {
        const objects = await list({ prefix, limit: 1000, signal })
        if (objects.length === 0) return
        const command = new DeleteObjectsCommand({
          Bucket: bucket,
          Delete: { Objects: objects.map(({ key }) => ({ Key: key })), Quiet: true },
        })
        const { Errors = [] } = await reach(() =>
          client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) }),
        )
        if (Errors.length > 0) throw unavailable(new Error(`${Errors[0]?.Key}: ${Errors[0]?.Code}`))
      }
    },

    async signGet(key, { expiresIn, contentType, disposition }) {
      const command = new GetObjectCommand({
        Bucket: bucket,
        Key: key,
        ResponseContentType: contentType,
        ResponseContentDisposition: disposition,
      })
      return reach(() => getSignedUrl(signer, command, { expiresIn }))
    },

    async signPut(key, { expiresIn, contentType, size, sha256 }) {
      const checksum = sha256 === undefined ? undefined : Buffer.from(sha256, 'hex').toString('base64')
      const command = new PutObjectCommand({
        Bucket: bucket,
        Key: key,
        ContentType: contentType,
        ContentLength: size,
        ChecksumSHA256: checksum,
        IfNoneMatch: '*',
      })
      const url = await reach(() =>
        getSignedUrl(signer, command, {
          expiresIn,
          // The presigner leaves content-type unsigned, and moves x-amz-* headers into the query, unless told so.
          signableHeaders: new Set(['host', 'content-type', 'content-length', 'if-none-match', CHECKSUM]),
          unhoistableHeaders: new Set([CHECKSUM]),
        }),
      )
      const headers = { 'content-type': contentType, 'if-none-match': '*' }
      return { url, headers: checksum === undefined ? headers : { ...headers, [CHECKSUM]: checksum } }
    },

    async check({ signal } = {}) {
      await reach(() =>
        client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal: deadline(STORE_DEADLINE_MS, signal) }),
      )
    },

    close() {
      client.destroy()
      signer.destroy()
    },
  }
}

/**
 * Creates the bucket when it is missing and may be; several replicas may try at once.
 * Throws Problem `storage_unavailable` when it is missing and may not, or the store can't be reached.
 */
export async function ensureBucket(config: S3Config): Promise<void> {
  const client = createClient(config, config.endpoint)
  const abortSignal = deadline(STORE_DEADLINE_MS)
  try {
    await reach(async () => {
      try {
        await client.send(new HeadBucketCommand({ Bucket: config.bucket }), { abortSignal })
      } catch (error) {
        if (!(error instanceof NotFound)) throw error
        await createBucket(client, config, abortSignal)
      }
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

const CHECKSUM = 'x-amz-checksum-sha256'

function createClient({ region, credentials, forcePathStyle }: S3Config, endpoint: string | undefined): S3Client {
  return new S3Client({
    region,
    forcePathStyle,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    // Otherwise signed PUTs carry the checksum of an empty body, and older stores refuse the trailer.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    expectContinueHeader: false,
    requestHandler: { connectionTimeout: 3000, httpAgent: { maxSockets: 128 }, httpsAgent: { maxSockets: 128 } },
  })
}

async function reach<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw unavailable(error)
  }
}

function unavailable(cause: unknown): Problem {
  return new Problem('storage_unavailable', 'The store did not answer as it should. Try again.', { cause })
}
