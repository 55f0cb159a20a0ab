import { randomBytes } from 'node:crypto'
import { ListMultipartUploadsCommand } from '@aws-sdk/client-s3'
import { readCorpus } from '../pictures/corpus.ts'
import { s3Client } from '../services/buckets.ts'
import { answered, type Client } from './client.ts'

export type Multipart = { id: string; key: string; uploadId: string; partSize: number; expiresAt: string }
export type PartLinks = {
  urls: { partNumber: number; url: string; headers: Record<string, string> }[]
  expiresAt: string
}
export type Parts = { parts: { partNumber: number; size: number; etag: string }[] }

export const MiB = 1024 * 1024

/** A JPEG of 640 × 427 pixels with as much behind it as it takes to be of this size. */
export async function jpegOf(size: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(randomBytes(size))
  bytes.set(await readCorpus('accept/rocket.jpg'))
  return bytes
}

/** Multipart uploads as a client of the JSON interface makes them. */
export function partsClient({ call }: Client) {
  const post = (as: string, path: string, json: unknown, headers: Record<string, string> = {}) =>
    call(path, { as, method: 'POST', json, headers })

  async function links(as: string, id: string, partNumbers: number[]): Promise<PartLinks> {
    return answered<PartLinks>(200, await post(as, `/media/${id}/parts`, { partNumbers }))
  }

  return {
    links,

    begin: (as: string, declared: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
      post(as, '/media/multipart', { filename: 'a.jpg', fileType: 'image/jpeg', size: 9 * MiB, ...declared }, headers),

    askForLinks: (as: string, id: string, partNumbers: unknown) => post(as, `/media/${id}/parts`, { partNumbers }),

    sign: (as: string, request: Record<string, unknown>) => post(as, '/media/sign', request),

    listParts: (as: string, id: string) => call(`/media/${id}/parts`, { as }),

    abort: (as: string, id: string) => call(`/media/${id}/upload`, { as, method: 'DELETE' }),

    /** Sends these parts of the file, all of them unless told otherwise, straight to the store. */
    async send(as: string, { id, partSize }: Multipart, bytes: Uint8Array<ArrayBuffer>, numbers?: number[]) {
      const all = Array.from({ length: Math.ceil(bytes.length / partSize) }, (_, i) => i + 1)
      const { urls } = await links(as, id, numbers ?? all)
      for (const { partNumber, url } of urls) {
        const body = bytes.subarray((partNumber - 1) * partSize, partNumber * partSize)
        const answer = await fetch(url, { method: 'PUT', body })
        if (answer.status !== 200) throw new Error(`part ${partNumber}: ${answer.status} ${await answer.text()}`)
      }
    },
  }
}

/** The ids of the multipart uploads that are under way for a key. */
export async function uploadsUnderWay(bucket: string, key: string): Promise<string[]> {
  const client = await s3Client()
  try {
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key }))
    return Uploads.filter(({ Key }) => Key === key).map(({ UploadId = '' }) => UploadId)
  } finally {
    client.destroy()
  }
}
