/** Multipart uploads on an S3 store. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  type S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import { deadline } from '../../deadline.ts'
import { COMPLETE_DEADLINE_MS, type Completion, type MultipartStorage, type StoredPart } from '../multipart.ts'
import { STORE_DEADLINE_MS, type Storage } from '../storage.ts'
import { reach } from './client.ts'

type Deps = {
  client: S3Client
  bucket: string
  /** Signs a PUT for clients, guarded against copies, because a part can be copied, too (UploadPartCopy). */
  signPut: (put: {
    key: string
    at: Date
    expiresIn: number
    headers: Record<string, string>
    query: Record<string, string>
  }) => Promise<string>
}

/** @param needsMd5 see `MultipartStorage.needsMd5` */
export function createS3Multipart({ client, bucket, signPut }: Deps, needsMd5: boolean): MultipartStorage {
  return {
    async begin(key, { contentType, signal }) {
      const command = new CreateMultipartUploadCommand({ Bucket: bucket, Key: key, ContentType: contentType })
      return reach(async () => {
        const { UploadId } = await client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) })
        if (UploadId === undefined) throw new Error(`no upload id for ${key}`)
        return UploadId
      })
    },

    parts: createListParts({ client, bucket }),

    async signPart(key, uploadId, { partNumber, size, md5, from, expiresIn }) {
      const headers: Record<string, string> = md5 === undefined ? {} : { 'content-md5': base64Of(md5) }
      const url = await signPut({
        ...{ key, at: from, expiresIn },
        headers: { ...headers, 'content-length': String(size) },
        query: { uploadId, partNumber: String(partNumber) },
      })
      return { url, headers }
    },

    needsMd5,

    async complete(key, uploadId, parts, { signal } = {}) {
      const command = new CompleteMultipartUploadCommand({
        Bucket: bucket,
        Key: key,
        UploadId: uploadId,
        // Without it, another upload of the same key would replace the bytes (MinIO of February 2026, versitygw).
        IfNoneMatch: '*',
        MultipartUpload: { Parts: parts.map(({ partNumber, etag }) => ({ PartNumber: partNumber, ETag: etag })) },
      })
      return reach(async () => {
        try {
          await client.send(command, { abortSignal: deadline(COMPLETE_DEADLINE_MS, signal) })
          return 'stored'
        } catch (error) {
          const outcome = error instanceof S3ServiceException ? COMPLETIONS[error.name] : undefined
          if (outcome === undefined) throw error
          return outcome
        }
      })
    },
  }
}

export function createListParts({ client, bucket }: Omit<Deps, 'signPut'>): MultipartStorage['parts'] {
  return async function listParts(key, uploadId, { signal } = {}) {
    const where = { Bucket: bucket, Key: key, UploadId: uploadId }
    const parts: StoredPart[] = []
    for (let marker: string | undefined; ; ) {
      const command = new ListPartsCommand({ ...where, PartNumberMarker: marker })
      const page = await reach(() =>
        client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) }).catch(ifNoSuchUpload),
      )
      if (page === null) return null
      for (const { PartNumber = 0, Size = 0, ETag = '' } of page.Parts ?? [])
        parts.push({ partNumber: PartNumber, size: Size, etag: ETag })
      if (page.IsTruncated !== true) return parts
      marker = page.NextPartNumberMarker
    }
  }
}

/** Aborts all uploads of exactly this key but one; see `Storage.abortUploads`. */
export function createAbortUploads({ client, bucket }: Omit<Deps, 'signPut'>): Storage['abortUploads'] {
  return async function abortUploads(key, { except, signal } = {}) {
    const abortSignal = deadline(STORE_DEADLINE_MS, signal)
    const list = new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key })
    await reach(async () => {
      for (;;) {
        const { Uploads = [] } = await client.send(list, { abortSignal })
        const others = Uploads.filter(({ Key, UploadId }) => Key === key && UploadId !== except)
        if (others.length === 0) return
        for (const { UploadId } of others) {
          const abort = new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId })
          // Another replica may have aborted it first.
          await client.send(abort, { abortSignal }).catch(ifNoSuchUpload)
        }
      }
    })
  }
}

function base64Of(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64')
}

const NO_SUCH_UPLOAD = 'NoSuchUpload'
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
const COMPLETIONS: Record<string, Completion> = {
  [NO_SUCH_UPLOAD]: 'gone',
  PreconditionFailed: 'occupied',
  InvalidPart: 'unfit',
  InvalidPartOrder: 'unfit',
  EntityTooSmall: 'unfit',
}

function ifNoSuchUpload(error: unknown): null {
  if (error instanceof S3ServiceException && error.name === NO_SUCH_UPLOAD) return null
  throw error
}
