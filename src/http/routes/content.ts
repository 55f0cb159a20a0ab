/** `/media/{id}/content`: redirects to the bytes of an object or rendition, by short-lived link or on the CDN. */

import { createRoute, type OpenAPIHono, type z } from '@hono/zod-openapi'
import { DEFAULT_QUALITY, type Wish } from '../../media/object/rendition.ts'
import { Problem } from '../../problem.ts'
import type { Deps } from '../deps.ts'
import { IdParam } from '../openapi/schemas/common.ts'
import { ANYONE, ContentQuery } from '../openapi/schemas/objects.ts'
import { KNOWN, OUTAGES, problems } from '../openapi/schemas/problems.ts'
import { allowStranger, originOf } from '../request/context.ts'
import { absolute } from './present.ts'

const UNRENDERABLE = [
  'media_type_unsupported',
  'image_unreadable',
  'image_too_large',
  'state_conflict',
  'quota_exceeded',
  'overloaded',
] as const

export function contentRoute(
  app: OpenAPIHono,
  { media, publicBaseUrl, renditionLinks, addressOf, identify }: Deps,
): void {
  const content = createRoute({
    method: 'get',
    path: '/media/{id}/content',
    summary: 'Redirect to the bytes, for <img src>',
    security: ANYONE,
    middleware: allowStranger(identify),
    request: { params: IdParam, query: ContentQuery },
    responses: {
      302: {
        description:
          'Redirects to a short-lived link or the CDN. Non-owners get a public copy of an image, without its metadata.',
        headers: { Location: { schema: { type: 'string' } } },
      },
      ...problems(...KNOWN, 'forbidden', 'link_required', 'not_found', ...UNRENDERABLE, ...OUTAGES),
    },
  })
  app.openapi(content, async (c) => {
    const { id } = c.req.valid('param')
    const { download: saved, expires, signature, ...asked } = c.req.valid('query')
    const download = saved !== undefined
    const signed = expires !== undefined || signature !== undefined
    if (signed && !renditionLinks.allows(id, knownOf(c.req.query()))) throw invalidLink()
    const viewer = signed ? 'link' : c.var.viewer
    const wish = wishOf(asked)
    const accept = c.req.header('accept') ?? ''
    const party = viewer === null || viewer === 'link' ? `address:${addressOf(c)}` : `owner:${viewer.userId}`
    const found =
      wish === null
        ? await media.objects.get(id, viewer)
        : await media.renditions.get(id, viewer, { wish, accept, party })
    const { url, cacheSeconds } = await ('made' in found
      ? media.renditions.sign(found, { download })
      : media.objects.locate(found, { download, party }))
    // The owner may get other bytes than everyone else, so shared caches must not store them.
    c.header('cache-control', `${found.own ? 'private' : 'public'}, max-age=${cacheSeconds}`)
    c.header('vary', 'authorization', { append: true })
    if (wish?.format === 'auto') c.header('vary', 'accept', { append: true })
    return c.redirect(absolute(url, originOf(c, publicBaseUrl)), 302)
  })
}

function knownOf(query: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(query).filter(([name]) => Object.hasOwn(ContentQuery.shape, name)))
}

/** Null for the original. */
function wishOf({ w, h, fit, format, q }: Omit<z.infer<typeof ContentQuery>, 'download'>): Wish | null {
  if ([w, h, fit, format, q].every((part) => part === undefined)) return null
  return { width: w, height: h, fit: fit ?? 'inside', format: format ?? 'auto', quality: q ?? DEFAULT_QUALITY }
}

function invalidLink(): Problem {
  return new Problem('forbidden', 'The link is invalid or has expired.')
}
