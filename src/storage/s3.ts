/** Any S3-compatible store. The one module that knows the AWS SDK. */
import { randomUUID } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  type BucketLocationConstraint,
  CreateBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  NotFound,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import type { S3Config } from '../config.ts'
import { deadline } from '../deadline.ts'
import { Problem } from '../problem.ts'
import { presign } from './sigv4.ts'
import { putDeadlineMs, STORE_DEADLINE_MS, type Storage } from './storage.ts'

/**
 * Links are signed for the public endpoint: the service and the browser reach the store under different names in
 * every real deployment, and the name is part of what is signed.
 * @param guardCopies see `NO_COPY`; `prepareBucket` finds out
 */
export function createS3Storage(config: S3Config, { guardCopies }: { guardCopies: boolean }): Storage {
  const { bucket } = config
  const client = createClient(config)
  const internalBase = baseOf(config, config.endpoint)
  const publicBase = baseOf(config, config.publicEndpoint)

  /** Under the public name, unless `internal` says that the service itself will use the link. */
  async function sign(signed: Signed): Promise<string> {
    const { method, key, at = new Date(), expiresIn, headers = {}, query = {}, internal = false } = signed
    const credentials = await reach(() => client.config.credentials())
    const guard = method === 'PUT' && guardCopies ? NO_COPY : {}
    return presign({
      method,
      url: new URL(key, internal ? internalBase : publicBase),
      headers: { ...headers, ...guard },
      query: { ...query, ...guard },
      region: config.region,
      credentials,
      at,
      expiresIn,
    })
  }

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

  const remove: Storage['remove'] = async (keys, { signal } = {}) => {
    const command = new DeleteObjectsCommand({
      Bucket: bucket,
      Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true },
    })
    const { Errors = [] } = await reach(() =>
      client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) }),
    )
    if (Errors.length > 0) throw unavailable(new Error(`${Errors[0]?.Key}: ${Errors[0]?.Code}`))
  }

  return {
    name: 's3',

    async put(key, bytes, { contentType, signal }) {
      const headers = { 'content-type': contentType }
      const url = await sign({ method: 'PUT', key, expiresIn: PUT_LINK_SECONDS, headers, internal: true })
      const answer = await reach(() =>
        fetch(url, {
          method: 'PUT',
          headers,
          // A view on a plain ArrayBuffer: bodies are never in shared memory.
          body: bytes as Uint8Array<ArrayBuffer>,
          signal: deadline(putDeadlineMs(bytes.length), signal),
        }),
      )
      const text = await answer.text()
      if (!answer.ok) throw unavailable(new Error(`PUT ${key}: ${answer.status} ${text}`))
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
        try {
          const answer = await client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) })
          return await answer.Body?.transformToByteArray()
        } catch (error) {
          // Nothing of the range is within the object (RFC 9110, section 15.5.17).
          if (error instanceof S3ServiceException && error.name === 'InvalidRange') return undefined
          throw error
        }
      })
      return bytes ?? new Uint8Array()
    },

    list,

    remove,

    async removePrefix(prefix, { signal } = {}) {
      for (;;) {
        const objects = await list({ prefix, limit: 1000, signal })
        if (objects.length === 0) return
        await remove(
          objects.map(({ key }) => key),
          { signal },
        )
      }
    },

    async abortUploads(key, { signal } = {}) {
      const abortSignal = deadline(STORE_DEADLINE_MS, signal)
      const where = { Bucket: bucket, Key: key }
      await reach(async () => {
        for (;;) {
          const page = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key }), {
            abortSignal,
          })
          const uploads = (page.Uploads ?? []).filter(({ Key }) => Key === key)
          if (uploads.length === 0) return
          for (const { UploadId } of uploads)
            await client.send(new AbortMultipartUploadCommand({ ...where, UploadId }), { abortSignal })
        }
      })
    },

    signGet: (key, { from, expiresIn, contentType, disposition, cacheControl }) => {
      const query = {
        'response-cache-control': cacheControl,
        'response-content-disposition': disposition,
        'response-content-type': contentType,
      }
      return sign({ method: 'GET', key, at: from, expiresIn, query })
    },

    async signPut(key, { expiresIn, contentType, size, sha256 }) {
      const headers: Record<string, string> = { 'content-type': contentType, 'if-none-match': '*' }
      if (sha256 !== undefined) headers[CHECKSUM] = Buffer.from(sha256, 'hex').toString('base64')
      const length = size === undefined ? {} : { 'content-length': String(size) }
      const url = await sign({ method: 'PUT', key, expiresIn, headers: { ...headers, ...length } })
      return { url, headers }
    },

    async check({ signal } = {}) {
      await reach(() =>
        client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal: deadline(STORE_DEADLINE_MS, signal) }),
      )
    },

    close() {
      client.destroy()
    },
  }
}

/**
 * Creates the bucket when it is missing and may be (several replicas may try at once), and finds out whether links
 * have to be guarded against copying. Throws Problem `storage_unavailable` when it cannot be reached or used so.
 */
export async function prepareBucket(config: S3Config): Promise<{ guardCopies: boolean }> {
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
      return { guardCopies: await copiesUnsigned(client, config, abortSignal) }
    })
  } finally {
    client.destroy()
  }
}

/**
 * Signed as a header that is empty, and sent in the query, which says the same to a store that accepts the unsigned
 * header: MinIO (February 2026) takes `x-amz-copy-source` on any signed PUT for a copy with the signer's own rights,
 * so whoever has an upload link could have any object of which they know the key. AWS refuses what is not signed.
 */
const NO_COPY = { 'x-amz-copy-source': '' }
// Checked by the store when the PUT begins.
const PUT_LINK_SECONDS = 60

type Signed = {
  method: 'GET' | 'PUT'
  key: string
  at?: Date
  expiresIn: number
  headers?: Record<string, string>
  query?: Record<string, string>
  internal?: boolean
}

const CHECKSUM = 'x-amz-checksum-sha256'

/** Whether a link for one object can be made to copy another one into it. */
async function copiesUnsigned(client: S3Client, config: S3Config, abortSignal: AbortSignal): Promise<boolean> {
  const { bucket: Bucket } = config
  const [from, to] = [`probe/${randomUUID()}`, `probe/${randomUUID()}`]
  const internal = createS3Storage({ ...config, publicEndpoint: config.endpoint }, { guardCopies: false })
  try {
    await client.send(new PutObjectCommand({ Bucket, Key: from, Body: 'probe' }), { abortSignal })
    const unbound = { size: undefined, sha256: undefined }
    const { url, headers } = await internal.signPut(to, { expiresIn: 60, contentType: 'text/plain', ...unbound })
    const answer = await fetch(url, {
      method: 'PUT',
      headers: { ...headers, 'x-amz-copy-source': `/${Bucket}/${from}` },
      signal: abortSignal,
    })
    await answer.body?.cancel()
    return answer.ok
  } finally {
    await internal.remove([from, to])
    internal.close()
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

/** Where the URLs of objects begin. */
function baseOf({ forcePathStyle, bucket, region }: S3Config, endpoint = `https://s3.${region}.amazonaws.com`): string {
  const base = new URL(endpoint)
  if (forcePathStyle) return `${base.href.replace(/\/$/, '')}/${bucket}/`
  base.host = `${bucket}.${base.host}`
  return base.href
}

function createClient({ region, credentials, forcePathStyle, endpoint }: S3Config): S3Client {
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
