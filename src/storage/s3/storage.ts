/** The storage port on any S3-compatible store. */
import type { IncomingHttpHeaders } from 'node:http'
import { DeleteObjectsCommand, HeadBucketCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { deadline } from '../../deadline.ts'
import { type Enforcement, putDeadlineMs, STORE_DEADLINE_MS, type Storage, type StoredHead } from '../storage.ts'
import { unavailable } from '../unavailable.ts'
import { createClient, isLate, reach } from './client.ts'
import { createS3Copy } from './copy.ts'
import { createSendGet } from './get.ts'
import { isSameClass } from './headers.ts'
import { createAbortUploads, createS3Multipart } from './multipart.ts'
import { sendPut } from './put.ts'
import type { S3Settings } from './settings.ts'
import { presign, presigner } from './sigv4.ts'

/**
 * What stores differ in. `guardCopies`: links have to be signed against copies, see `guard`. `guards`, `storageClass`:
 * see `ClientHeaders`.
 */
export type StoreTraits = {
  guardCopies: boolean
  guards: readonly string[]
  storageClass: string
  enforces: Enforcement
}

/**
 * Links are signed for the public endpoint: the service and the browser reach the store under different names in
 * every real deployment, and the name is part of what is signed. `prepareBucket` finds out the traits.
 */
export function createS3Storage(config: S3Settings, traits: StoreTraits): Storage {
  const { guardCopies, enforces } = traits
  const { bucket } = config
  const client = createClient(config)
  const internalBase = baseOf(config, config.endpoint)
  const publicBase = baseOf(config, config.publicEndpoint)
  // Of one type and within one window, links to read differ in nothing but their key.
  const readSigners = new Map<string, (pathname: string) => string>()
  // Until then puts make connections of their own, since the idle ones may be dead.
  let freshUntil = 0

  const credentialsNow = async () => config.credentials ?? (await reach(() => client.config.credentials()))

  // Of a part nothing is kept but its bytes, which may be those of another object.
  const guardOfParts = guard(guardCopies ? [COPY_SOURCE] : [])
  const guardOfObjects = { ...guardOfParts, ...guard(traits.guards) }

  /** A link to PUT: under the public name, unless `internal` says that the service itself will use it. */
  async function signWrite(write: Write): Promise<string> {
    const { key, at = new Date(), expiresIn, headers = {}, query = {}, internal = false } = write
    const guard = internal ? {} : 'partNumber' in query ? guardOfParts : guardOfObjects
    const base = internal ? internalBase : publicBase
    return presign({
      method: 'PUT',
      url: { ...base, pathname: base.pathname + key },
      headers: { ...headers, ...guard },
      query: { ...query, ...guard },
      region: config.region,
      credentials: await credentialsNow(),
      at,
      expiresIn,
    })
  }

  const gets = createSendGet()
  async function ask(method: 'GET' | 'HEAD', key: string, headers: Record<string, string>, signal?: AbortSignal) {
    const url = presign({
      method,
      url: { ...internalBase, pathname: internalBase.pathname + key },
      headers: {},
      query: {},
      region: config.region,
      credentials: await credentialsNow(),
      at: new Date(),
      expiresIn: OWN_LINK_SECONDS,
    })
    return reach(() => gets.send({ method, url, headers, signal: deadline(STORE_DEADLINE_MS, signal) }))
  }

  function stored(size: number, headers: IncomingHttpHeaders): StoredHead {
    const { 'content-type': contentType = '', etag = '' } = headers
    const contentEncoding = headers['content-encoding'] || null
    const ordinaryClass = isSameClass(headers['x-amz-storage-class']?.toString(), traits.storageClass)
    return { size, contentType, etag, contentEncoding, ordinaryClass }
  }

  const head: Storage['head'] = async (key, { signal } = {}) => {
    const { status, headers } = await ask('HEAD', key, {}, signal)
    if (status === 404) return null
    if (status !== 200) throw unavailable(new Error(`HEAD ${key}: ${status}`))
    return stored(Number(headers['content-length']), headers)
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
    enforces,

    async put(key, bytes, { contentType, disposition, signal }) {
      const said = disposition === undefined ? {} : { 'content-disposition': disposition }
      const headers = { 'content-type': contentType, ...said }
      const url = await signWrite({ key, expiresIn: OWN_LINK_SECONDS, headers, internal: true })
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
    },

    head,

    async peek(key, { length, signal }) {
      const { status, headers, bytes } = await ask('GET', key, { range: `bytes=0-${length - 1}` }, signal)
      if (status === 404) return null
      // An object without bytes has no range, and the refusal does not tell its type.
      const isEmpty = status === 416 || (status === 200 && bytes.length === 0)
      if (!isEmpty && status !== 206) throw unavailable(new Error(`GET ${key}: ${status} ${Buffer.from(bytes)}`))
      const said = isEmpty ? await head(key, { signal }) : stored(sizeIn(headers['content-range']), headers)
      if (said === null) return null
      const beginning = isEmpty ? new Uint8Array() : bytes
      if (beginning.length !== Math.min(length, said.size))
        throw unavailable(new Error(`GET ${key}: ${status} with ${beginning.length} bytes of ${said.size}`))
      return { ...said, bytes: beginning }
    },

    async read(key, { start, length, signal }) {
      const range = `bytes=${start}-${start + length - 1}`
      const { status, bytes } = await ask('GET', key, { range }, signal)
      // Nothing of the range is within the object (RFC 9110, section 15.5.17).
      if (status === 416) return new Uint8Array()
      if (status !== 206) throw unavailable(new Error(`GET ${key}: ${status} ${Buffer.from(bytes)}`))
      return bytes
    },

    copy: createS3Copy({ client, bucket }),

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

    abortUploads: createAbortUploads({ client, bucket }),

    multipart: createS3Multipart({ client, bucket, signPut: signWrite }),

    async signGet(key, { from, expiresIn, contentType, disposition, cacheControl }) {
      const credentials = await credentialsNow()
      const kind = [credentials.accessKeyId, from.getTime(), expiresIn, contentType, disposition, cacheControl].join(
        '\n',
      )
      let signer = readSigners.get(kind)
      if (signer === undefined) {
        signer = presigner({
          method: 'GET',
          url: publicBase,
          headers: {},
          query: {
            'response-cache-control': cacheControl,
            'response-content-disposition': disposition,
            'response-content-type': contentType,
          },
          region: config.region,
          credentials,
          at: from,
          expiresIn,
        })
        if (readSigners.size >= READ_SIGNERS) readSigners.clear()
        readSigners.set(kind, signer)
      }
      return signer(publicBase.pathname + key)
    },

    async signPut(key, { expiresIn, contentType, size, sha256 }) {
      const headers: Record<string, string> = { 'content-type': contentType, 'if-none-match': '*' }
      if (sha256 !== undefined) headers[CHECKSUM] = Buffer.from(sha256, 'hex').toString('base64')
      const length = size === undefined ? {} : { 'content-length': String(size) }
      const url = await signWrite({ key, expiresIn, headers: { ...headers, ...length } })
      return { url, headers }
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

/**
 * Headers signed as empty, and sent in the query, which says the same to a store that accepts unsigned headers: MinIO
 * (February 2026) takes `x-amz-copy-source` on any signed PUT for a copy with the signer's own rights, so whoever has an
 * upload link could have any object of which they know the key. AWS refuses what is not signed.
 */
function guard(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, '']))
}

const COPY_SOURCE = 'x-amz-copy-source'
const READ_SIGNERS = 100
// Of links that the service itself uses at once; checked by the store when a request begins.
const OWN_LINK_SECONDS = 60
// No runtime keeps a connection longer than this for the next fetch (Bun: 5 minutes, Deno: 90 seconds).
const IDLE_CONNECTION_MS = 5 * 60_000

type Write = {
  key: string
  at?: Date
  expiresIn: number
  headers?: Record<string, string>
  query?: Record<string, string>
  internal?: boolean
}

const CHECKSUM = 'x-amz-checksum-sha256'

/** The size of the whole object; NaN where the header does not tell it of a range that begins at the object's start. */
function sizeIn(contentRange: string | undefined): number {
  return Number(/^bytes 0-\d+\/(\d+)$/.exec(contentRange ?? '')?.[1])
}

/** Where the URLs of objects begin. */
function baseOf({ forcePathStyle, bucket, region }: S3Settings, endpoint = `https://s3.${region}.amazonaws.com`) {
  const base = new URL(endpoint)
  if (forcePathStyle) base.pathname = `${base.pathname.replace(/\/$/, '')}/${bucket}/`
  else base.host = `${bucket}.${base.host}`
  const { origin, host, pathname } = base
  return { origin, host, pathname }
}
