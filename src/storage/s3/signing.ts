/**
 * Signed links to the keys of one bucket. They are signed for the public endpoint, because the host name is part of the
 * signature, and in most deployments the service and browsers reach the store under different names.
 */

import type { Enforcement, SignGet } from '../storage.ts'
import type { BrokenParts } from './broken-parts.ts'
import { awsEndpoint } from './client.ts'
import type { S3Settings } from './settings.ts'
import { type Credentials, presign, presigner } from './sigv4.ts'

/**
 * Differences between stores. `guardCopies`: links have to be signed against copies, see `guard`. `guards`,
 * `storageClass`: see `ClientHeaders`. `multiDelete`: whether the store has DeleteObjects. `crc32`: whether it
 * checks the CRC32 of an object. `brokenParts`: see `BrokenParts`.
 */
export type StoreTraits = {
  guardCopies: boolean
  guards: readonly string[]
  storageClass: string
  enforces: Enforcement
  multiDelete: boolean
  crc32: boolean
  brokenParts: BrokenParts
}

export type Signing = {
  /** A PUT link: for the public endpoint unless it is `internal`, for the service itself. */
  write(write: Write): Promise<string>
  /** A download link for the public endpoint; see `Storage.signGet`. */
  read(key: string, options: SignGet): Promise<string>
  /** A link that the service itself uses at once. */
  own(method: 'GET' | 'HEAD', key: string): Promise<string>
}

type Write = {
  key: string
  at?: Date
  expiresIn: number
  headers?: Record<string, string>
  query?: Record<string, string>
  internal?: boolean
}

// Lifetime of links that the service itself uses at once; the store checks it when a request begins.
export const OWN_LINK_SECONDS = 60

const COPY_SOURCE = 'x-amz-copy-source'
const READ_SIGNERS = 100

type Settings = Pick<S3Settings, 'bucket' | 'endpoint' | 'forcePathStyle' | 'publicEndpoint' | 'region'>
type Deps = { traits: StoreTraits; credentialsNow: () => Promise<Credentials> }

export function createSigning(settings: Settings, { traits, credentialsNow }: Deps): Signing {
  const { region } = settings
  const internalBase = baseOf(settings, settings.endpoint)
  const publicBase = baseOf(settings, settings.publicEndpoint)
  // The store keeps only the bytes of a part, so copies are the only headers to guard against.
  const guardOfParts = guard(traits.guardCopies ? [COPY_SOURCE] : [])
  const guardOfObjects = { ...guardOfParts, ...guard(traits.guards) }

  return {
    async write({ key, at = new Date(), expiresIn, headers = {}, query = {}, internal = false }) {
      const guard = internal ? {} : 'partNumber' in query ? guardOfParts : guardOfObjects
      const base = internal ? internalBase : publicBase
      return presign({
        method: 'PUT',
        url: { ...base, pathname: base.pathname + key },
        headers: { ...headers, ...guard },
        query: { ...query, ...guard },
        region,
        credentials: await credentialsNow(),
        at,
        expiresIn,
      })
    },

    read: createReadSigner({ base: publicBase, region, credentialsNow }),

    async own(method, key) {
      return presign({
        method,
        url: { ...internalBase, pathname: internalBase.pathname + key },
        headers: {},
        query: {},
        region,
        credentials: await credentialsNow(),
        at: new Date(),
        expiresIn: OWN_LINK_SECONDS,
      })
    },
  }
}

type ReadSigner = { base: Base; region: string; credentialsNow: () => Promise<Credentials> }

function createReadSigner({ base, region, credentialsNow }: ReadSigner): Signing['read'] {
  // Download links of one type within one time window differ only in their key.
  const signers = new Map<string, (pathname: string) => string>()
  return async function read(key, { from, expiresIn, contentType, disposition, cacheControl }) {
    const credentials = await credentialsNow()
    const kind = [credentials.accessKeyId, from.getTime(), expiresIn, contentType, disposition, cacheControl].join('\n')
    let signer = signers.get(kind)
    if (signer === undefined) {
      signer = presigner({
        method: 'GET',
        url: base,
        headers: {},
        query: {
          'response-cache-control': cacheControl,
          'response-content-disposition': disposition,
          'response-content-type': contentType,
        },
        region,
        credentials,
        at: from,
        expiresIn,
      })
      if (signers.size >= READ_SIGNERS) signers.clear()
      signers.set(kind, signer)
    }
    return signer(base.pathname + key)
  }
}

/**
 * Headers signed with an empty value, and sent in the query, which a store that accepts unsigned headers treats like
 * headers. MinIO (February 2026) treats any signed PUT with `x-amz-copy-source` as a copy with the signer's rights, so
 * the holder of an upload link could read any object whose key they know. AWS refuses unsigned headers.
 */
function guard(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, '']))
}

type Base = Pick<URL, 'origin' | 'host' | 'pathname'>

/** The base URL of objects. */
function baseOf({ forcePathStyle, bucket, region }: Settings, endpoint = awsEndpoint(region)): Base {
  const base = new URL(endpoint)
  if (forcePathStyle) base.pathname = `${base.pathname.replace(/\/$/, '')}/${bucket}/`
  else base.host = `${bucket}.${base.host}`
  const { origin, host, pathname } = base
  return { origin, host, pathname }
}
