/** Who sent a request, and whether they may send more: a known caller counts for themselves, all others for their address. */

import type { Context } from 'hono'
import ipaddr from 'ipaddr.js'
import type { Authenticate } from '../../auth/auth.ts'
import type { Caller } from '../../auth/caller.ts'
import { type Limiter, WINDOW_SECONDS } from '../../limits/limits.ts'
import { Problem } from '../../problem.ts'

/**
 * Null for a caller without credentials, or with those of a gateway for a request that a page of another site may have forged
 * (`forgeable` is then set). Throws Problem `token_invalid`, `auth_unavailable` or `rate_limited`.
 */
export type Identify = (c: Context) => Promise<Caller | null>

type Deps = {
  authenticate: Authenticate
  /** Absent: nothing is counted. */
  limiter: Limiter | undefined
  /** How many proxies in front of the service add to X-Forwarded-For. */
  trustedProxies: number
  /** Origins whose pages may call the service. */
  corsOrigins: readonly string[]
}

/** A stranger's flood leaves known callers alone, even where they share an address. */
export function createIdentify({ authenticate, limiter, trustedProxies, corsOrigins }: Deps): Identify {
  async function callerOf(c: Context): Promise<Caller | null> {
    const caller = await authenticate(c.req.raw.headers)
    if (caller === null || !isForgeable(c, corsOrigins)) return caller
    c.set('forgeable', true)
    return null
  }
  if (limiter === undefined) return callerOf
  return async function identify(c) {
    let caller: Caller | null = null
    try {
      caller = await callerOf(c)
    } catch (error) {
      await count(c, limiter, addressOf(c, trustedProxies))
      throw error
    }
    await count(c, limiter, caller?.userId ?? addressOf(c, trustedProxies))
    return caller
  }
}

/**
 * Whether a page of another site may have sent the request in its visitor's name (CSRF). A gateway that knows its user by a
 * cookie vouches for every request that the browser sends, whichever page made it; a page can't add a bearer token that it
 * does not have. Browsers say where a request comes from (https://www.w3.org/TR/fetch-metadata/); following a link is not
 * one that a page can see the answer to.
 */
function isForgeable(c: Context, corsOrigins: readonly string[]): boolean {
  if (c.req.header('authorization') !== undefined || c.req.header('sec-fetch-site') !== 'cross-site') return false
  if (corsOrigins.includes(c.req.header('origin') ?? '')) return false
  return !(SAFE_METHODS.has(c.req.method) && c.req.header('sec-fetch-mode') === 'navigate')
}

const SAFE_METHODS = new Set(['GET', 'HEAD'])

export const LIMIT_HEADERS = ['RateLimit', 'RateLimit-Policy']

/** With the headers of draft-ietf-httpapi-ratelimit-headers-10. */
async function count(c: Context, limiter: Limiter, key: string): Promise<void> {
  const allowance = await limiter.take(key)
  if (allowance === null) {
    c.set('uncounted', true)
    return
  }
  const { allowed, remaining, resetSeconds } = allowance
  c.header('ratelimit-policy', `"default";q=${limiter.limit};w=${WINDOW_SECONDS}`)
  c.header('ratelimit', `"default";r=${remaining};t=${resetSeconds}`)
  if (!allowed)
    throw new Problem('rate_limited', `There may be ${limiter.limit} requests a minute.`, {
      retryAfterSeconds: resetSeconds,
    })
}

/**
 * Where a request comes from, as the last proxy that is trusted saw it; of IPv6 the network (/64), in which anyone has
 * as many addresses as they like.
 */
export function addressOf(c: Context, trustedProxies: number): string {
  const forwarded = trustedProxies > 0 ? c.req.header('x-forwarded-for')?.split(',') : undefined
  return networkOf(forwarded?.at(-trustedProxies) ?? peerOf(c))
}

/**
 * The network that an address counts for. Some proxies (Azure's gateways, IIS) write the port behind it, as RFC 7239 would
 * in a Forwarded header. A zone says on which interface of the proxy's an address was seen.
 */
export function networkOf(written: string): string {
  const text = written.trim().slice(0, LONGEST_ADDRESS)
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(text)?.[1]
  const withPort = /^([\d.]+):\d{1,5}$/.exec(text)?.[1]
  const address = (bracketed ?? withPort ?? text).replace(/%.*$/, '')
  if (!ipaddr.IPv4.isValidFourPartDecimal(address) && !ipaddr.IPv6.isValid(address)) return 'unknown'
  const parsed = ipaddr.process(address)
  return parsed.kind() === 'ipv6' ? `${parsed.toByteArray().slice(0, 8)}` : parsed.toString()
}

// An IPv6 address in brackets with a zone and a port.
const LONGEST_ADDRESS = 100

/** The other end of the connection, as the server tells it with each request: Bun its server, Deno the connection. */
export function peerOf(c: Context): string {
  const peer: Peer | undefined = c.env?.peer
  return peer?.requestIP?.(c.req.raw)?.address ?? peer?.remoteAddr?.hostname ?? ''
}

type Peer = {
  requestIP?: (request: Request) => { address: string } | null
  remoteAddr?: { hostname?: string }
}
