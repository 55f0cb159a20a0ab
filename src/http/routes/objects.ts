/** Everything that happens to an object once it is there. */

import { createRoute, type OpenAPIHono, type z } from '@hono/zod-openapi'
import { DEFAULT_QUALITY, type Wish } from '../../media/object/rendition.ts'
import { Problem } from '../../problem.ts'
import { jsonOnly } from '../body/read.ts'
import type { Deps } from '../deps.ts'
import {
  ANYONE,
  ContentQuery,
  GetQuery,
  IdParam,
  JSON_BODY,
  KNOWN,
  ListQuery,
  MediaObject,
  MediaPage,
  OUTAGES,
  PatchBody,
  problems,
  SignedMediaObject,
} from '../openapi/schemas.ts'
import { allowStranger, originOf, requireCaller } from '../request/context.ts'
import { HttpProblem } from '../request/problem-response.ts'
import { longJson } from './long-json.ts'
import { absolute, present, presentSigned } from './present.ts'

const UNRENDERABLE = [
  'media_type_unsupported',
  'image_unreadable',
  'image_too_large',
  'state_conflict',
  'quota_exceeded',
  'overloaded',
] as const

export function objectRoutes(app: OpenAPIHono, deps: Deps): void {
  const { media, identify, publicBaseUrl, renditionLinks, addressOf } = deps
  const known = requireCaller(identify)
  const anyone = allowStranger(identify)

  const list = createRoute({
    method: 'get',
    path: '/media',
    summary: 'List your own objects, newest first',
    middleware: known,
    request: { query: ListQuery },
    responses: {
      200: { description: 'A page.', content: { 'application/json': { schema: MediaPage } } },
      ...problems(...KNOWN, ...OUTAGES),
    },
  })
  app.openapi(list, async (c) => {
    const { ids, cursor, renditions, ...page } = c.req.valid('query')
    const { caller } = c.var
    const others = Object.keys(c.req.query()).filter((name) => name !== 'ids' && name !== 'renditions')
    if (ids !== undefined && others.length > 0)
      throw new HttpProblem('request_invalid', 'ids goes with no other parameter but renditions.', {
        errors: [{ field: 'ids', message: 'goes with no other parameter but renditions' }],
      })
    const { objects, more } = ids
      ? { objects: await media.objects.listByIds(caller, ids), more: false }
      : await media.objects.list(caller, { ...page, type: page.type, before: cursor })
    const origin = originOf(c, publicBaseUrl)
    const items = await Promise.all(
      objects.map((row) => presentSigned({ ...row, own: true }, origin, renditions, deps)),
    )
    return longJson(c, { items, nextCursor: more ? (items.at(-1)?.id ?? null) : null })
  })

  const get = createRoute({
    method: 'get',
    path: '/media/{id}',
    summary: 'Get a media object with a link to its bytes',
    security: ANYONE,
    middleware: anyone,
    request: { params: IdParam, query: GetQuery },
    responses: {
      200: { description: 'Yours, or public.', content: { 'application/json': { schema: SignedMediaObject } } },
      ...problems(...KNOWN, 'not_found', ...OUTAGES),
    },
  })
  app.openapi(get, async (c) => {
    const row = await media.objects.get(c.req.valid('param').id, c.var.viewer)
    const { renditions } = c.req.valid('query')
    return c.json(await presentSigned(row, originOf(c, publicBaseUrl), renditions, deps), 200)
  })

  const content = createRoute({
    method: 'get',
    path: '/media/{id}/content',
    summary: 'Go to the bytes, as an <img src> does',
    security: ANYONE,
    middleware: anyone,
    request: { params: IdParam, query: ContentQuery },
    responses: {
      302: {
        description: 'To a short-lived link, or the CDN. Others than its owner get a picture without its metadata.',
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
    if (signed && !renditionLinks.allows(id, c.req.query())) throw invalidLink()
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
    // Its owner may get other bytes than everyone.
    c.header('cache-control', `${found.own ? 'private' : 'public'}, max-age=${cacheSeconds}`)
    c.header('vary', 'authorization', { append: true })
    if (wish?.format === 'auto') c.header('vary', 'accept', { append: true })
    return c.redirect(absolute(url, originOf(c, publicBaseUrl)), 302)
  })

  const update = createRoute({
    method: 'patch',
    path: '/media/{id}',
    summary: 'Change its name or visibility',
    middleware: [known, jsonOnly()] as const,
    request: { params: IdParam, body: { required: true, content: { 'application/json': { schema: PatchBody } } } },
    responses: {
      200: { description: 'Changed.', content: { 'application/json': { schema: MediaObject } } },
      ...problems(...JSON_BODY, 'not_found', 'database_unavailable'),
    },
  })
  app.openapi(update, async (c) => {
    const origin = originOf(c, publicBaseUrl)
    const row = await media.objects.update(c.req.valid('param').id, c.var.caller, c.req.valid('json'))
    return c.json(present(row, origin), 200)
  })

  const remove = createRoute({
    method: 'delete',
    path: '/media/{id}',
    summary: 'Delete it, until it is restored or the retention time is over',
    middleware: known,
    request: { params: IdParam },
    responses: {
      204: { description: 'Deleted.' },
      ...problems(...KNOWN, 'not_found', 'database_unavailable'),
    },
  })
  app.openapi(remove, async (c) => {
    await media.objects.remove(c.req.valid('param').id, c.var.caller)
    return c.body(null, 204)
  })

  const restore = createRoute({
    method: 'post',
    path: '/media/{id}/restore',
    summary: 'Take it back out of the bin',
    middleware: known,
    request: { params: IdParam },
    responses: {
      200: { description: 'Active again.', content: { 'application/json': { schema: MediaObject } } },
      ...problems(...KNOWN, 'not_found', 'database_unavailable'),
    },
  })
  app.openapi(restore, async (c) => {
    const origin = originOf(c, publicBaseUrl)
    const row = await media.objects.restore(c.req.valid('param').id, c.var.caller)
    return c.json(present(row, origin), 200)
  })
}

/** Null for the original. */
function wishOf({ w, h, fit, format, q }: Omit<z.infer<typeof ContentQuery>, 'download'>): Wish | null {
  if ([w, h, fit, format, q].every((part) => part === undefined)) return null
  return { width: w, height: h, fit: fit ?? 'inside', format: format ?? 'auto', quality: q ?? DEFAULT_QUALITY }
}

function invalidLink(): Problem {
  return new Problem('forbidden', 'The link is not valid, or not any more.')
}
