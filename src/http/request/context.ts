/** What every route needs of the request: who is calling, and where clients reach the service. */

import type { Context, MiddlewareHandler } from 'hono'
import type { Caller } from '../../auth/caller.ts'
import { Problem } from '../../problem.ts'
import type { Identify } from './identify.ts'

export type RequiresCaller = { Variables: { caller: Caller; forgeable?: boolean } }
export type AllowsStranger = { Variables: { viewer: Caller | null } }

/** Lets only known callers on; throws what `identify` throws, and Problem `token_missing` or `forbidden`. */
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

/** Lets callers without credentials on, too; throws what `identify` throws. */
export function allowStranger(identify: Identify): MiddlewareHandler<AllowsStranger> {
  return async function allowStranger(c, next) {
    c.set('viewer', await identify(c))
    await next()
  }
}

/** The origin for links to the service: the configured one, else the one the client used. */
export function originOf(c: Context, publicBaseUrl: string | undefined): string {
  if (publicBaseUrl !== undefined) return publicBaseUrl
  const { url } = c.req
  const spelled = url.slice(0, url.indexOf('/', url.indexOf('//') + 2))
  if (lastOrigin?.spelled !== spelled) lastOrigin = { spelled, origin: new URL(url).origin }
  return lastOrigin.origin
}

// Most requests come by the same name, and to parse a URL takes longer than to compare one.
let lastOrigin: { spelled: string; origin: string } | undefined
