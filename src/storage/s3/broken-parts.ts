/**
 * Finds out what the store makes of a part whose sender died on the way. versitygw 1.8.0 keeps it, filled up to the
 * announced size, and lists it like a whole one.
 */
import { createHash } from 'node:crypto'
import { AbortMultipartUploadCommand, type S3Client } from '@aws-sdk/client-s3'
import { deadline } from '../../deadline.ts'
import type { MultipartStorage } from '../multipart.ts'
import { STORE_DEADLINE_MS } from '../storage.ts'
import { sendBrokenPut } from './broken-request.ts'

/**
 * `refused`: a broken part is never kept. `unless-checked`: it is, unless the sender has sent a checksum. `kept`: it is
 * in any case, so nothing may be uploaded in parts.
 */
export type BrokenParts = 'refused' | 'unless-checked' | 'kept'

type Probe = {
  client: S3Client
  bucket: string
  key: string
  /** Its links are for the service's own use. */
  multipart: Pick<MultipartStorage, 'begin' | 'parts' | 'signPart'>
  signal: AbortSignal
}

const PLAIN = 1
const CHECKED = 2
const SIZE = 64 * 1024

/** Aborts its upload, also when it fails. */
export async function probeBrokenParts({ client, bucket, key, multipart, signal }: Probe): Promise<BrokenParts> {
  const UploadId = await multipart.begin(key, { contentType: 'text/plain', signal })
  try {
    const body = new Uint8Array(SIZE).fill(1)
    const md5 = createHash('md5').update(body).digest('hex')
    const link = { size: SIZE, from: new Date(), expiresIn: 60 }
    await Promise.all(
      [{ partNumber: PLAIN }, { partNumber: CHECKED, md5 }].map(async (part) => {
        const { url, headers } = await multipart.signPart(key, UploadId, { ...link, ...part })
        await sendBrokenPut(url, headers, body)
      }),
    )
    const parts = (await multipart.parts(key, UploadId, { signal })) ?? []
    const kept = new Set(parts.map(({ partNumber }) => partNumber))
    return kept.has(CHECKED) ? 'kept' : kept.has(PLAIN) ? 'unless-checked' : 'refused'
  } finally {
    const abort = new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId })
    await client.send(abort, { abortSignal: deadline(STORE_DEADLINE_MS) })
  }
}
