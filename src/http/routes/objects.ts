/** Routes that list, read, change, delete and restore media objects. */

import { createRoute, type OpenAPIHono } from '@hono/zod-openapi'
import { jsonOnly } from '../body/read.ts'
import type { Deps } from '../deps.ts'
import { IdParam } from '../openapi/schemas/common.ts'
import {
  ANYONE,
  GetQuery,
  ListQuery,
  MediaObject,
  MediaPage,
  PatchBody,
  SignedMediaObject,
} from '../openapi/schemas/objects.ts'
import { JSON_BODY, KNOWN, OUTAGES, problems } from '../openapi/schemas/problems.ts'
import { allowStranger, originOf, requireCaller } from '../request/context.ts'
import { HttpProblem } from '../request/problem-response.ts'
import { contentRoute } from './content.ts'
import { longJson } from './long-json.ts'
import { present, presentSigned } from './present.ts'

export function objectRoutes(app: OpenAPIHono, deps: Deps): void {
  listRoute(app, deps)
  getRoute(app, deps)
  contentRoute(app, deps)
  updateRoute(app, deps)
  removeRoute(app, deps)
  restoreRoute(app, deps)
}

function listRoute(app: OpenAPIHono, deps: Deps): void {
  const { media, publicBaseUrl, identify } = deps
  const list = createRoute({
    method: 'get',
    path: '/media',
    summary: 'List your own objects, newest first',
    middleware: requireCaller(identify),
    request: { query: ListQuery },
    responses: {
      200: { description: 'One page of the list.', content: { 'application/json': { schema: MediaPage } } },
      ...problems(...KNOWN, ...OUTAGES),
    },
  })
  app.openapi(list, async (c) => {
    const { ids, cursor, renditions, ...page } = c.req.valid('query')
    const { caller } = c.var
    const others = Object.keys(c.req.query()).filter((name) => name !== 'ids' && name !== 'renditions')
    if (ids !== undefined && others.length > 0)
      throw new HttpProblem('request_invalid', 'The parameter ids can be combined with renditions only.', {
        errors: [{ field: 'ids', message: 'can be combined with renditions only' }],
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
}

function getRoute(app: OpenAPIHono, deps: Deps): void {
  const { media, publicBaseUrl, identify } = deps
  const get = createRoute({
    method: 'get',
    path: '/media/{id}',
    summary: 'Get a media object with a link to its bytes',
    security: ANYONE,
    middleware: allowStranger(identify),
    request: { params: IdParam, query: GetQuery },
    responses: {
      200: {
        description: 'An object of the caller, or a public one.',
        content: { 'application/json': { schema: SignedMediaObject } },
      },
      ...problems(...KNOWN, 'not_found', ...OUTAGES),
    },
  })
  app.openapi(get, async (c) => {
    const row = await media.objects.get(c.req.valid('param').id, c.var.viewer)
    const { renditions } = c.req.valid('query')
    return c.json(await presentSigned(row, originOf(c, publicBaseUrl), renditions, deps), 200)
  })
}

function updateRoute(app: OpenAPIHono, { media, publicBaseUrl, identify }: Deps): void {
  const update = createRoute({
    method: 'patch',
    path: '/media/{id}',
    summary: 'Change the name or visibility',
    middleware: [requireCaller(identify), jsonOnly()] as const,
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
}

function removeRoute(app: OpenAPIHono, { media, identify }: Deps): void {
  const remove = createRoute({
    method: 'delete',
    path: '/media/{id}',
    summary: 'Delete an object (restorable until the retention time ends)',
    middleware: requireCaller(identify),
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
}

function restoreRoute(app: OpenAPIHono, { media, publicBaseUrl, identify }: Deps): void {
  const restore = createRoute({
    method: 'post',
    path: '/media/{id}/restore',
    summary: 'Restore a deleted object',
    middleware: requireCaller(identify),
    request: { params: IdParam },
    responses: {
      200: { description: 'The restored object.', content: { 'application/json': { schema: MediaObject } } },
      ...problems(...KNOWN, 'not_found', 'database_unavailable'),
    },
  })
  app.openapi(restore, async (c) => {
    const origin = originOf(c, publicBaseUrl)
    const row = await media.objects.restore(c.req.valid('param').id, c.var.caller)
    return c.json(present(row, origin), 200)
  })
}
