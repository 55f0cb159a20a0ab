/**
 * Presigned URLs by AWS Signature Version 4, computed here: a link costs a few hashes where the SDK's presigner takes
 * a hundred times that, and may sign headers that the SDK would leave out.
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
 */
import { createHmac, hash } from 'node:crypto'

export type Credentials = { accessKeyId: string; secretAccessKey: string; sessionToken?: string | undefined }

export type Presign = {
  method: 'GET' | 'PUT'
  /** Scheme and host, host and port, path; the path's characters are ones that need no encoding. */
  url: Pick<URL, 'origin' | 'host' | 'pathname'>
  query: Record<string, string>
  /** Names in lower case. The request is refused unless it has exactly these; `host` is added. */
  headers: Record<string, string>
  region: string
  credentials: Credentials
  at: Date
  /** Seconds from `at`, seven days at most. */
  expiresIn: number
}

/** The URL with its signature. */
export function presign({ method, url, query, headers, region, credentials, at, expiresIn }: Presign): string {
  const signed: Record<string, string> = { ...headers, host: url.host }
  const names = Object.keys(signed).sort()
  const signedHeaders = names.join(';')
  // A signature is good for a second of time, not for less.
  const { time, scope, pairs, key } = stampOf(credentials, region, Math.floor(at.getTime() / 1000), expiresIn)
  const own = Object.entries(query).map(([name, value]) => `${encode(name)}=${encode(value)}`)
  // Sorted by encoded name, as signed.
  const canonicalQuery = [...pairs, `X-Amz-SignedHeaders=${encode(signedHeaders)}`, ...own].sort().join('&')
  let canonicalHeaders = ''
  for (const name of names) canonicalHeaders += `${name}:${signed[name]?.trim()}\n`
  const request = `${method}\n${url.pathname}\n${canonicalQuery}\n${canonicalHeaders}\n${signedHeaders}\nUNSIGNED-PAYLOAD`
  const toSign = `${ALGORITHM}\n${time}\n${scope}\n${hash('sha256', request)}`
  const signature = createHmac('sha256', key).update(toSign).digest('hex')
  return `${url.origin}${url.pathname}?${canonicalQuery}&X-Amz-Signature=${signature}`
}

const ALGORITHM = 'AWS4-HMAC-SHA256'

/** What all links of one second and one life share; `pairs` are in the query, but for the signed headers. */
type Stamp = { time: string; scope: string; pairs: string[]; key: Buffer }

// Links to read are stamped with the beginning of a window of minutes, links to upload with the present second.
const stamps = new Map<string, Stamp>()
const STAMPS = 100

function stampOf(
  { accessKeyId, secretAccessKey, sessionToken }: Credentials,
  region: string,
  at: number,
  life: number,
) {
  const of = `${at} ${life} ${region} ${accessKeyId} ${secretAccessKey} ${sessionToken}`
  let stamp = stamps.get(of)
  if (stamp === undefined) {
    const time = new Date(at * 1000).toISOString().replace(/[-:]|\.\d{3}/g, '')
    const day = time.slice(0, 8)
    const scope = `${day}/${region}/s3/aws4_request`
    const pairs = [
      `X-Amz-Algorithm=${ALGORITHM}`,
      `X-Amz-Credential=${encode(`${accessKeyId}/${scope}`)}`,
      `X-Amz-Date=${time}`,
      `X-Amz-Expires=${life}`,
      ...(sessionToken === undefined ? [] : [`X-Amz-Security-Token=${encode(sessionToken)}`]),
    ]
    stamp = { time, scope, pairs, key: signingKey(secretAccessKey, day, region) }
    if (stamps.size >= STAMPS) stamps.clear()
    stamps.set(of, stamp)
  }
  return stamp
}

function signingKey(secret: string, ...scope: string[]): Buffer {
  return [...scope, 's3', 'aws4_request'].reduce<Buffer>(
    (parent, part) => createHmac('sha256', parent).update(part).digest(),
    Buffer.from(`AWS4${secret}`),
  )
}

/** Everything but unreserved characters (RFC 3986) encoded. */
function encode(text: string): string {
  if (/^[\w.~-]*$/.test(text)) return text
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}
