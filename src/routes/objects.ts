/** Everything that happens to an object once it is there. */
import { createRoute, type OpenAPIHono } from '@hono/zod-openapi'
import { Problem } from '../problem.ts'
import { jsonOnly } from './body.ts'
import { allowStranger, type Deps, originOf, requireCaller } from './context.ts'
import { longJson } from './long-json.ts'
import { absolute, present, presentSigned } from './present.ts'
import {
  ANYONE,
  ContentQuery,
  IdParam,
  JSON_BODY,
  KNOWN,
  ListQuery,
  MediaObject,
  MediaPage,
  PatchBody,
  problems,
  SignedMediaObject,
} from './schemas.ts'

const UNCLEANABLE = ['image_unreadable', 'image_too_large', 'state_conflict', 'overloaded'] as const
const FAILURES = ['storage_unavailable', 'database_unavailable'] as const

export function objectRoutes(app: OpenAPIHono, deps: Deps): void {
  const { media, identify, publicBaseUrl, urlOf } = deps
  const { sign } = media
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
      ...problems(...KNOWN, ...FAILURES),
    },
  })
  app.openapi(list, async (c) => {
    const { ids, cursor, ...page } = c.req.valid('query')
    const { caller } = c.var
    if (ids !== undefined && Object.keys(c.req.query()).length > 1)
      throw new Problem('request_invalid', 'ids goes with no other parameter.', {
        errors: [{ field: 'ids', message: 'goes with no other parameter' }],
      })
    const { objects, more } = ids
      ? { objects: await media.listByIds(caller, ids), more: false }
      : await media.list(caller, { ...page, type: page.type, before: cursor })
    const origin = originOf(c, publicBaseUrl)
    const items = await Promise.all(objects.map((row) => presentSigned({ ...row, own: true }, origin, { sign, urlOf })))
    return longJson(c, { items, nextCursor: more ? (items.at(-1)?.id ?? null) : null })
  })

  const get = createRoute({
    method: 'get',
    path: '/media/{id}',
    summary: 'Get a media object with a link to its bytes',
    security: ANYONE,
    middleware: anyone,
    request: { params: IdParam },
    responses: {
      200: { description: 'Yours, or public.', content: { 'application/json': { schema: SignedMediaObject } } },
      ...problems(...KNOWN, 'not_found', ...FAILURES),
    },
  })
  app.openapi(get, async (c) => {
    const row = await media.get(c.req.valid('param').id, c.var.viewer)
    return c.json(await presentSigned(row, originOf(c, publicBaseUrl), { sign, urlOf }), 200)
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
      ...problems(...KNOWN, 'not_found', ...UNCLEANABLE, ...FAILURES),
    },
  })
  app.openapi(content, async (c) => {
    const row = await media.get(c.req.valid('param').id, c.var.viewer)
    const origin = originOf(c, publicBaseUrl)
    const download = c.req.valid('query').download !== undefined
    const { url, cacheSeconds } = await media.locate(row, { download })
    // Its owner may get other bytes than everyone.
    c.header('cache-control', `${row.own ? 'private' : 'public'}, max-age=${cacheSeconds}`)
    c.header('vary', 'authorization', { append: true })
    return c.redirect(absolute(url, origin), 302)
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
    const row = await media.update(c.req.valid('param').id, c.var.caller, c.req.valid('json'), origin)
    return c.json(present(row, urlOf(row, origin)), 200)
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
    await media.remove(c.req.valid('param').id, c.var.caller)
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
    const row = await media.restore(c.req.valid('param').id, c.var.caller, origin)
    return c.json(present(row, urlOf(row, origin)), 200)
  })
}
