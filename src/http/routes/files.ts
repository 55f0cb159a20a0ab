/** `/files/*`: signed links of the disk store, answered as S3 would. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { IfRange } from '@remix-run/headers/if-range'
import { Range } from '@remix-run/headers/range'
import { Problem } from '../../problem.ts'
import type { Grant } from '../../storage/disk/links.ts'
import { FILES_PATH } from '../../storage/disk/links.ts'
import type { DiskStorage } from '../../storage/disk/storage.ts'
import { isMatched, isNamed } from '../request/etag.ts'
import { HttpProblem } from '../request/problem-response.ts'

export function fileRoutes(app: OpenAPIHono, disk: DiskStorage): void {
  app.on(['GET', 'HEAD'], `${FILES_PATH}*`, async (c) => {
    const grant = readGrant(disk, c.req.url, 'GET')
    const file = await disk.head(grant.key)
    if (file === null) throw new Problem('not_found', 'The file of this link no longer exists.')
    const { size, etag } = file
    const headers = {
      etag,
      'accept-ranges': 'bytes',
      'content-type': grant.contentType,
      'content-disposition': grant.disposition ?? 'attachment',
      'cache-control': grant.cacheControl ?? 'private',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
      'cross-origin-resource-policy': 'cross-origin',
    }
    // In the order of RFC 9110, section 13.2.2; Range is defined for GET only (section 14.2).
    if (!isMatched(etag, c.req.header('if-match')))
      throw new Problem('precondition_failed', 'The file has another ETag than If-Match names.')
    if (isNamed(etag, c.req.header('if-none-match'))) return c.body(null, 304, headers)
    const range = c.req.method === 'GET' ? rangeOf(c.req.raw.headers, { size, etag }) : null
    if (range === 'unsatisfiable')
      throw new HttpProblem('range_not_satisfiable', `The file has ${size} bytes.`, {
        headers: { 'content-range': `bytes */${size}` },
      })
    const { start, end } = range ?? { start: 0, end: size - 1 }
    const rangeIgnored = range === null && c.req.header('range') !== undefined
    const body = c.req.method === 'HEAD' ? null : await disk.body(grant.key, { start, end }, { rangeIgnored })
    const length = { 'content-length': String(end - start + 1) }
    if (range === null) return new Response(body, { headers: { ...headers, ...length } })
    const partial = { ...headers, ...length, 'content-range': `bytes ${start}-${end}/${size}` }
    return new Response(body, { status: 206, headers: partial })
  })

  app.put(`${FILES_PATH}*`, async (c) => {
    const grant = readGrant(disk, c.req.url, 'PUT')
    const refused = (what: string) => new Problem('forbidden', `The link was signed for another request: ${what}.`)
    if (c.req.header('content-type') !== grant.contentType) throw refused(`content-type: ${grant.contentType}`)
    if (c.req.header('if-none-match') !== '*') throw refused('if-none-match: *')
    const length = c.req.header('content-length')
    if (grant.size !== undefined && length !== undefined && Number(length) !== grant.size)
      throw refused(`content-length: ${grant.size}`)
    await disk.receive(grant, c.req.raw.body ?? [])
    return c.body(null, 200)
  })
}

function readGrant(disk: DiskStorage, url: string, method: Grant['method']): Grant {
  const grant = disk.readLink(new URL(url))
  if (grant === null || grant.method !== method) throw new Problem('forbidden', 'The link is invalid or has expired.')
  return grant
}

/** The requested range (RFC 9110, section 14); null for the whole file, also when several ranges are requested. */
function rangeOf(
  headers: Headers,
  { size, etag }: { size: number; etag: string },
): { start: number; end: number } | 'unsatisfiable' | null {
  if (!IfRange.from(headers.get('if-range')).matches({ etag })) return null
  // Units have no case.
  const asked = Range.from(headers.get('range')?.toLowerCase() ?? null)
  if (asked.unit !== 'bytes' || asked.ranges.length !== 1) return null
  const range = asked.normalize(size)[0]
  // The last zero bytes are none.
  return range === undefined || range.end < range.start ? 'unsatisfiable' : range
}
