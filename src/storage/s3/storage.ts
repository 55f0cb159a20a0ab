/** The storage port on any S3-compatible store. */

import { HeadBucketCommand } from '@aws-sdk/client-s3'
import { deadline } from '../../deadline.ts'
import { putDeadlineMs, STORE_DEADLINE_MS, type Storage } from '../storage.ts'
import { unavailable } from '../unavailable.ts'
import { checksumHeader } from './checksums.ts'
import { createClient, isLate, reach } from './client.ts'
import { createS3Copy } from './copy.ts'
import { createSendGet } from './get.ts'
import { createListing } from './listing.ts'
import { createAbortUploads, createS3Multipart } from './multipart.ts'
import { sendPut } from './put.ts'
import { createReading } from './reading.ts'
import { createRemove } from './removal.ts'
import type { S3Settings } from './settings.ts'
import { createSigning, OWN_LINK_SECONDS, type Signing, type StoreTraits } from './signing.ts'
import type { Credentials } from './sigv4.ts'

/** @param traits as detected by `prepareBucket` */
export function createS3Storage(config: S3Settings, traits: StoreTraits): Storage {
  const { bucket } = config
  const client = createClient(config)
  const gets = createSendGet()
  const credentialsNow = async (): Promise<SessionCredentials> =>
    config.credentials ?? (await reach(() => client.config.credentials()))
  const remove = createRemove({ client, bucket }, traits.multiDelete)
  const signing = createSigning(config, { traits, credentialsNow })

  return {
    name: 's3',
    enforces: traits.enforces,
    ...createReading({ signing, gets, storageClass: traits.storageClass }),
    ...createListing({ client, bucket, remove }),
    remove,
    put: createPut(signing, traits),
    copy: createS3Copy({ client, bucket }),
    abortUploads: createAbortUploads({ client, bucket }),
    ...(traits.brokenParts !== 'kept' && {
      multipart: createS3Multipart({ client, bucket, signPut: signing.write }, traits.brokenParts === 'unless-checked'),
    }),
    signGet: signing.read,

    async signPut(key, { expiresIn, contentType, size, sha256 }) {
      const headers: Record<string, string> = { 'content-type': contentType, 'if-none-match': '*' }
      if (sha256 !== undefined) headers[CHECKSUM] = Buffer.from(sha256, 'hex').toString('base64')
      const length = size === undefined ? {} : { 'content-length': String(size) }
      const url = await signing.write({ key, expiresIn, headers: { ...headers, ...length } })
      return { url, headers }
    },

    async linksEnd() {
      const { expiration } = await credentialsNow()
      if (expiration !== undefined && expiration.getTime() <= Date.now())
        throw unavailable(new Error(`the session of the store's key ended at ${expiration.toISOString()}`))
      return expiration ?? null
    },

    async check({ signal } = {}) {
      await reach(() =>
        client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal: deadline(STORE_DEADLINE_MS, signal) }),
      )
    },

    close() {
      client.destroy()
      gets.close()
    },
  }
}

/** `expiration`: the end of the session, for temporary credentials. */
type SessionCredentials = Credentials & { expiration?: Date | undefined }

function createPut(signing: Signing, traits: StoreTraits): Storage['put'] {
  // Until then, PUTs use new connections, since idle ones may be dead.
  let freshUntil = 0
  return async function put(key, bytes, { contentType, disposition, signal }) {
    const said = disposition === undefined ? {} : { 'content-disposition': disposition }
    const headers = { 'content-type': contentType, ...(await checksumHeader(bytes, traits)), ...said }
    const url = await signing.write({ key, expiresIn: OWN_LINK_SECONDS, headers, internal: true })
    await reach(async () => {
      try {
        const { ok, status, text } = await sendPut({
          url,
          headers,
          bytes,
          signal: deadline(putDeadlineMs(bytes.length), signal),
          fresh: Date.now() < freshUntil,
        })
        if (!ok) throw new Error(`PUT ${key}: ${status} ${text}`)
      } catch (error) {
        if (isLate(error)) freshUntil = Date.now() + IDLE_CONNECTION_MS
        throw error
      }
    })
  }
}

// Longest time that a runtime keeps an idle connection for `fetch` (Bun: 5 minutes, Deno: 90 seconds).
const IDLE_CONNECTION_MS = 5 * 60_000

const CHECKSUM = 'x-amz-checksum-sha256'
