/** What everything that talks to an S3 store shares. */
import { S3Client } from '@aws-sdk/client-s3'
import type { S3Config } from '../config.ts'
import { Problem } from '../problem.ts'

/** A client for the endpoint that the service itself reaches. */
export function createClient({ region, credentials, forcePathStyle, endpoint }: S3Config): S3Client {
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

/** What a call gives; whatever it throws becomes Problem `storage_unavailable`. */
export async function reach<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw unavailable(error)
  }
}

export function unavailable(cause: unknown): Problem {
  return new Problem('storage_unavailable', 'The store did not answer as it should. Try again.', { cause })
}
