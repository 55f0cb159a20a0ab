/** Links to the service itself: the query holds what the link allows, protected by an HMAC. */
import { hmac, isHmac, type Secrets } from '../../secrets.ts'

/** What a link allows. `expires`: Unix seconds. The other fields restrict a PUT or set response headers of a GET. */
export type Grant = {
  method: 'GET' | 'PUT'
  key: string
  expires: number
  contentType: string
  disposition: string | undefined
  cacheControl: string | undefined
  size: number | undefined
  sha256: string | undefined
}

/** Path prefix of links. */
export const FILES_PATH = '/files/'

/** A path with query on the service's own origin. */
export function signLink(grant: Grant, secret: string): string {
  const query = new URLSearchParams({ method: grant.method, expires: String(grant.expires), type: grant.contentType })
  if (grant.disposition !== undefined) query.set('disposition', grant.disposition)
  if (grant.cacheControl !== undefined) query.set('cache', grant.cacheControl)
  if (grant.size !== undefined) query.set('size', String(grant.size))
  if (grant.sha256 !== undefined) query.set('sha256', grant.sha256)
  query.set('signature', hmac(textOf(grant), secret))
  return `${FILES_PATH}${grant.key}?${query}`
}

/**
 * What a link allows; null when no secret made its signature or it has expired.
 * @param now Unix time in milliseconds
 */
export function readLink(link: URL, secrets: Secrets, now: number): Grant | null {
  const query = link.searchParams
  const method = query.get('method')
  if (!link.pathname.startsWith(FILES_PATH) || (method !== 'GET' && method !== 'PUT')) return null
  const number = (name: string) => (query.has(name) ? Number(query.get(name)) : undefined)
  const grant: Grant = {
    method,
    key: link.pathname.slice(FILES_PATH.length),
    expires: number('expires') ?? 0,
    contentType: query.get('type') ?? '',
    disposition: query.get('disposition') ?? undefined,
    cacheControl: query.get('cache') ?? undefined,
    size: number('size'),
    sha256: query.get('sha256') ?? undefined,
  }
  if (!isHmac(query.get('signature') ?? '', textOf(grant), secrets)) return null
  return grant.expires * 1000 > now ? grant : null
}

/** The fields are encoded as JSON, so that no two grants have the same text. */
function textOf({ method, key, expires, contentType, disposition, cacheControl, size, sha256 }: Grant): string {
  return JSON.stringify([method, key, expires, contentType, disposition, cacheControl, size, sha256])
}
