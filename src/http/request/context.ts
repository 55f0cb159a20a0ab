/** Middleware that resolves the caller, and the public origin of the service. */

import type { Context, MiddlewareHandler } from 'hono'
import type { Caller } from '../../auth/caller.ts'
import { Problem } from '../../problem.ts'
import type { Identify } from './identify.ts'

export type RequiresCaller = { Variables: { caller: Caller; forgeable?: boolean } }
export type AllowsStranger = { Variables: { viewer: Caller | null } }

/**
 * Requires an authenticated caller.
 * @throws what `identify` throws, and Problem `token_missing` or `forbidden`
 */
export function requireCaller(identify: Identify): MiddlewareHandler<RequiresCaller> {
  return async function requireCaller(c, next) {
    const caller = await identify(c)
    if (caller === null && c.get('forgeable'))
      throw new Problem('forbidden', 'A page of another site sent this request, whose origin is not in CORS_ORIGINS.')
    if (caller === null) throw new Problem('token_missing', 'Send a bearer token in the Authorization header.')
    c.set('caller', caller)
    await next()
  }
}

/**
 * Admits anonymous callers as well.
 * @throws what `identify` throws
 */
export function allowStranger(identify: Identify): MiddlewareHandler<AllowsStranger> {
  return async function allowStranger(c, next) {
    c.set('viewer', await identify(c))
    await next()
  }
}

/** The origin of links to the service: the configured one, else that of the request. */
export function originOf(c: Context, publicBaseUrl: string | undefined): string {
  if (publicBaseUrl !== undefined) return publicBaseUrl
  const { url } = c.req
  const spelled = url.slice(0, url.indexOf('/', url.indexOf('//') + 2))
  if (lastOrigin?.spelled !== spelled) lastOrigin = { spelled, origin: new URL(url).origin }
  return lastOrigin.origin
}

// Caches the last origin: most requests use the same Host, and comparing strings is faster than parsing a URL.
let lastOrigin: { spelled: string; origin: string } | undefined
