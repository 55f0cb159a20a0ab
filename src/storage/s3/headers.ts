/**
 * Finds out which unsigned headers a client can add to an upload. AWS refuses every unsigned `x-amz-` header, MinIO
 * (February 2026) only `x-amz-meta-`: tested at start, on objects of a few bytes.
 */
import { HeadObjectCommand, type S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { isOk, PROBE, unsigned } from './probe-requests.ts'

/** Signs a link to upload `PROBE` as `text/plain`, guarded against these headers. */
type SignProbe = (key: string, guards: readonly string[]) => Promise<{ url: string; headers: Record<string, string> }>

/**
 * `guards`: headers that links are signed against, by signing each with an empty value. `unguarded`: headers that the
 * store accepts unsigned, and requires when they are signed as empty, so links cannot be guarded against them.
 * `storageClass`: the class of objects stored without one.
 */
export type ClientHeaders = { guards: string[]; unguarded: string[]; storageClass: string }

/**
 * Headers and a value to test each with. They could set a false time or hash (orphans are found by age, copies are made
 * by ETag), an encoding that every reader decompresses, a storage class that costs more or answers later, tags that a
 * lifecycle rule acts on, or public access.
 */
const CLAIMS: Record<string, string> = {
  'content-encoding': 'gzip',
  'x-amz-acl': 'public-read',
  'x-amz-server-side-encryption': 'AES256',
  'x-amz-storage-class': 'REDUCED_REDUNDANCY',
  'x-amz-tagging': 'probe=1',
  'x-amz-website-redirect-location': '/elsewhere',
  'x-minio-source-etag': '0123456789abcdef0123456789abcdef',
  'x-minio-source-mtime': '2001-01-01T00:00:00.000Z',
}

/** Not tested, because a locked object could not be removed: guarded if the store accepts other unsigned headers. */
const LOCKS = ['x-amz-object-lock-legal-hold', 'x-amz-object-lock-mode', 'x-amz-object-lock-retain-until-date']

type Probe = {
  client: S3Client
  bucket: string
  newKey: (name: string) => string
  sign: SignProbe
  signal: AbortSignal
}

/** Leaves its objects under the new keys, for the caller to remove. */
export async function probeClientHeaders({ client, bucket, newKey, sign, signal }: Probe): Promise<ClientHeaders> {
  let made = 0

  /** The object stored by a PUT under a link with these guards; null when the PUT was refused. */
  async function outcome(guards: readonly string[], sent: Record<string, string> = {}): Promise<Stored | null> {
    made += 1
    const key = newKey(`header${made}`)
    const { url, headers } = await sign(key, guards)
    if (!(await isOk(url, { method: 'PUT', headers: { ...headers, ...sent }, body: PROBE, signal }))) return null
    const [found, open] = await Promise.all([
      client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }), { abortSignal: signal }).catch(ifUnreadable),
      // Not GET: an open store sends the body, which is not what its Content-Encoding says.
      isOk(unsigned(url), { method: 'HEAD', signal }),
    ])
    if (found === null) return { storageClass: '', said: UNREADABLE }
    const { ETag, ContentEncoding = '', TagCount = 0, WebsiteRedirectLocation = '', ServerSideEncryption = '' } = found
    const isNew = (found.LastModified?.getTime() ?? 0) > Date.now() - DAY_MS
    const said = [ETag, ContentEncoding, TagCount, WebsiteRedirectLocation, ServerSideEncryption, isNew, open]
    return { storageClass: found.StorageClass ?? '', said: JSON.stringify(said) }
  }

  /** Whether a link with these guards accepts a plain PUT, and refuses a PUT with any of the headers. */
  async function work(guards: readonly string[]): Promise<boolean> {
    const [honest, ...others] = await Promise.all([
      outcome(guards),
      ...guards.map((name) => outcome(guards, { [name]: CLAIMS[name] ?? 'ON' })),
    ])
    return honest !== null && isOrdinary(honest) && others.every((other) => other === null)
  }

  const plain = await outcome([])
  if (plain === null) return { guards: [], unguarded: [], storageClass: '' }
  const isOrdinary = (found: Stored) => found.said === plain.said && isSameClass(found.storageClass, plain.storageClass)
  const tried = await Promise.all(
    Object.entries(CLAIMS).map(async ([name, value]) => {
      const found = await outcome([], { [name]: value })
      return found === null || isOrdinary(found) ? [] : [name]
    }),
  )
  const taken = tried.flat()
  const wanted = taken.some((name) => name.startsWith('x-amz-')) ? [...taken, ...LOCKS] : taken
  const guards = await guardable(wanted)
  return { guards, unguarded: taken.filter((name) => !guards.includes(name)), storageClass: plain.storageClass }

  async function guardable(names: string[]): Promise<string[]> {
    if (names.length === 0 || (await work(names))) return names
    const alone = await Promise.all(names.map(async (name) => ((await work([name])) ? [name] : [])))
    const working = alone.flat()
    return working.length > 0 && (await work(working)) ? working : []
  }
}

/** No class, or an empty one, means STANDARD, S3's first. */
export function isSameClass(one = '', other = ''): boolean {
  return (one || STANDARD) === (other || STANDARD)
}

/** For `catch`: an object stored with a client's encryption headers may be unreadable without them. */
function ifUnreadable(error: unknown): null {
  if (error instanceof S3ServiceException) return null
  throw error
}

const UNREADABLE = 'unreadable'

type Stored = { storageClass: string; said: string }

const STANDARD = 'STANDARD'
const DAY_MS = 86_400_000
