/** Server-side copies within an S3 store. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import pLimit from 'p-limit'
import { deadline } from '../../deadline.ts'
import { copyDeadlineMs, type Presentation, STORE_DEADLINE_MS, type Storage } from '../storage.ts'
import { reach } from './client.ts'

type Sizes = {
  /** Largest object that S3 copies in one call: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html */
  most: number
  /** Size of every part but the last, in bytes; larger for objects that would have more than 10,000 parts. */
  part: number
}

const GiB = 1024 ** 3
const MOST_PARTS = 10_000
const PARTS_AT_ONCE = 4

type Deps = { client: S3Client; bucket: string; sizes?: Sizes }

export function createS3Copy({ client, bucket, sizes = { most: 5 * GiB, part: GiB / 2 } }: Deps): Storage['copy'] {
  /** For objects above 5 GiB. Each part requires the object's ETag, so all parts are of the same bytes. */
  async function copyInParts(source: Source, to: Target, size: number, abortSignal: AbortSignal): Promise<void> {
    const upload = await client.send(new CreateMultipartUploadCommand(to), { abortSignal })
    const where = { Bucket: to.Bucket, Key: to.Key, UploadId: upload.UploadId }
    const places = pLimit(PARTS_AT_ONCE)
    try {
      const copied = rangesOf(size, sizes.part).map((range, index) =>
        places(async () => {
          const part = { ...source, ...where, PartNumber: index + 1, CopySourceRange: range }
          const { CopyPartResult } = await client.send(new UploadPartCopyCommand(part), { abortSignal })
          return { PartNumber: index + 1, ETag: CopyPartResult?.ETag }
        }),
      )
      const Parts = await Promise.all(copied)
      await client.send(new CompleteMultipartUploadCommand({ ...where, MultipartUpload: { Parts } }), { abortSignal })
    } catch (error) {
      places.clearQueue()
      // A new deadline, because the copy's own may have just passed.
      const abort = { abortSignal: deadline(STORE_DEADLINE_MS) }
      await client.send(new AbortMultipartUploadCommand(where), abort).catch(() => {})
      throw error
    }
  }

  return async function copy(from, to, { etag, size, as, signal }) {
    const abortSignal = deadline(copyDeadlineMs(size), signal)
    const source = { CopySource: `${bucket}/${from}`, CopySourceIfMatch: etag }
    const target = { Bucket: bucket, Key: to, ContentType: as.contentType, ContentDisposition: as.disposition }
    await reach(async () => {
      if (size > sizes.most) return copyInParts(source, target, size, abortSignal)
      const command = new CopyObjectCommand({ ...source, ...target, MetadataDirective: 'REPLACE' })
      await client.send(command, { abortSignal })
    })
  }
}

type Source = { CopySource: string; CopySourceIfMatch: string }
type Target = { Bucket: string; Key: string } & Record<
  'ContentType' | 'ContentDisposition',
  Presentation['contentType']
>

/** Ranges in S3's syntax: `bytes=0-4`, both ends included. */
function rangesOf(size: number, partSize: number): string[] {
  const length = Math.max(partSize, Math.ceil(size / MOST_PARTS))
  return Array.from({ length: Math.ceil(size / length) }, (_, index) => {
    const start = index * length
    return `bytes=${start}-${Math.min(start + length, size) - 1}`
  })
}
