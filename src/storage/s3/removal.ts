/** Removes objects of one bucket, also where the store has no DeleteObjects (Google Cloud Storage). */
import { createHash } from 'node:crypto'
import { DeleteObjectCommand, DeleteObjectsCommand, type S3Client } from '@aws-sdk/client-s3'
import pLimit from 'p-limit'
import { deadline } from '../../deadline.ts'
import { STORE_DEADLINE_MS, type Storage } from '../storage.ts'
import { unavailable } from '../unavailable.ts'
import { reach } from './client.ts'

type Deps = { client: S3Client; bucket: string }

const DELETES_AT_ONCE = 16

/** @param multiDelete whether the store has DeleteObjects */
export function createRemove(deps: Deps, multiDelete: boolean): Storage['remove'] {
  return multiDelete ? createRemoveTogether(deps) : createRemoveSingly(deps)
}

/** By DeleteObjects: up to 1,000 objects in one call. */
export function createRemoveTogether({ client, bucket }: Deps): Storage['remove'] {
  return async function remove(keys, { signal } = {}) {
    const command = new DeleteObjectsCommand({
      Bucket: bucket,
      Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true },
    })
    command.middlewareStack.add(
      (next) => async (args) => {
        putContentMd5(args.request)
        return next(args)
      },
      // After the SDK's own checksum, before the signature.
      { step: 'build', name: 'contentMd5', priority: 'low' },
    )
    const { Errors = [] } = await reach(() =>
      client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) }),
    )
    if (Errors.length > 0) throw unavailable(new Error(`${Errors[0]?.Key}: ${Errors[0]?.Code}`))
  }
}

/** One call for each object. */
export function createRemoveSingly({ client, bucket }: Deps): Storage['remove'] {
  return async function remove(keys, { signal } = {}) {
    const places = pLimit(DELETES_AT_ONCE)
    const outcomes = await Promise.allSettled(
      keys.map((Key) =>
        places(() => {
          const command = new DeleteObjectCommand({ Bucket: bucket, Key })
          return reach(() => client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) }))
        }),
      ),
    )
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }
}

/**
 * DeleteObjects must have a checksum of its body. The SDK sends a CRC32, which Backblaze B2, Ceph and older MinIO do not
 * know; they require Content-MD5, which AWS and Cloudflare R2 take as well.
 * @see https://github.com/aws/aws-sdk-js-v3/blob/main/supplemental-docs/MD5_FALLBACK.md
 */
function putContentMd5(request: unknown): void {
  if (!isRequest(request)) throw new Error('DeleteObjects has no body to take the checksum of')
  for (const name of Object.keys(request.headers))
    if (/^x-amz-(sdk-)?checksum-/i.test(name)) delete request.headers[name]
  request.headers['content-md5'] = createHash('md5').update(request.body).digest('base64')
}

function isRequest(request: unknown): request is { headers: Record<string, string>; body: string | Uint8Array } {
  if (typeof request !== 'object' || request === null || !('headers' in request) || !('body' in request)) return false
  return typeof request.body === 'string' || request.body instanceof Uint8Array
}
