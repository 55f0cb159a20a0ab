/** The disk store's own links: what S3 answers to signed links, this answers to `/files/*`. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { Problem } from '../problem.ts'
import type { DiskStorage } from '../storage/disk.ts'
import type { Grant } from '../storage/links.ts'
import { FILES_PATH } from '../storage/links.ts'

export function fileRoutes(app: OpenAPIHono, disk: DiskStorage): void {
  app.get(`${FILES_PATH}*`, async (c) => {
    const grant = readGrant(disk, c.req.url, 'GET')
    const file = await disk.open(grant.key)
    if (file === null) throw new Problem('not_found', 'There is nothing under this link any more.')
    const headers = {
      'content-type': grant.contentType,
      'content-length': String(file.size),
      'content-disposition': grant.disposition ?? 'attachment',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
      'cross-origin-resource-policy': 'cross-origin',
      'cache-control': 'private',
    }
    return c.body(file.body, 200, headers)
  })

  app.put(`${FILES_PATH}*`, async (c) => {
    const grant = readGrant(disk, c.req.url, 'PUT')
    const refused = (what: string) => new Problem('forbidden', `The link is for another request: ${what}.`)
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
  if (grant === null || grant.method !== method)
    throw new Problem('forbidden', 'The link is not valid, or not any more.')
  return grant
}
