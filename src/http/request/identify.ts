/** Authenticates and rate-limits requests: known callers count per user, anonymous clients per address. */

import type { Context } from 'hono'
import ipaddr from 'ipaddr.js'
import type { Authenticate } from '../../auth/auth.ts'
import type { Caller } from '../../auth/caller.ts'
import { type Limiter, WINDOW_SECONDS } from '../../limits/limits.ts'
import { Problem } from '../../problem.ts'

/**
 * Resolves with null for a caller without credentials, and for a gateway's credentials on a request that a page of
 * another site may have forged (`forgeable` is then set).
 * @throws Problem `token_invalid`, `auth_unavailable` or `rate_limited`
 */
export type Identify = (c: Context) => Promise<Caller | null>

type Deps = {
  authenticate: Authenticate
  /** Absent: no rate limits. */
  limiter: Limiter | undefined
  /** Number of trusted proxies that append to X-Forwarded-For. */
  trustedProxies: number
  /** Origins whose pages may call the service. */
  corsOrigins: readonly string[]
}

/** A flood of anonymous requests does not affect known callers, even those behind the same address. */
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
 * Whether a page of another site may have sent the request in its visitor's name (CSRF). A gateway that authenticates
 * by cookie vouches for every request of the browser, whichever page made it; a page cannot add a bearer token that it
 * does not have. Browsers report the initiator (https://www.w3.org/TR/fetch-metadata/). Followed links are allowed: the
 * linking page cannot read the response.
 */
function isForgeable(c: Context, corsOrigins: readonly string[]): boolean {
  if (c.req.header('authorization') !== undefined || c.req.header('sec-fetch-site') !== 'cross-site') return false
  if (corsOrigins.includes(c.req.header('origin') ?? '')) return false
  return !(SAFE_METHODS.has(c.req.method) && c.req.header('sec-fetch-mode') === 'navigate')
}

const SAFE_METHODS = new Set(['GET', 'HEAD'])

export const LIMIT_HEADERS = ['RateLimit', 'RateLimit-Policy']

/** Sets the headers of draft-ietf-httpapi-ratelimit-headers-10. */
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
    throw new Problem('rate_limited', `The limit is ${limiter.limit} requests per minute.`, {
      retryAfterSeconds: resetSeconds,
    })
}

/**
 * The client address as seen by the last trusted proxy; for IPv6 the /64 network, since a client can use any address in
 * it.
 */
export function addressOf(c: Context, trustedProxies: number): string {
  const forwarded = trustedProxies > 0 ? c.req.header('x-forwarded-for')?.split(',') : undefined
  return networkOf(forwarded?.at(-trustedProxies) ?? peerOf(c))
}

/**
 * The network that an address counts for. Some proxies (Azure gateways, IIS) append the port, as RFC 7239 does in a
 * Forwarded header. A zone names the proxy's interface that saw the address.
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

// A bracketed IPv6 address with a zone and a port.
const LONGEST_ADDRESS = 100

/** The peer address of the connection: Bun passes its server with each request, Deno the connection. */
export function peerOf(c: Context): string {
  const peer: Peer | undefined = c.env?.peer
  return peer?.requestIP?.(c.req.raw)?.address ?? peer?.remoteAddr?.hostname ?? ''
}

type Peer = {
  requestIP?: (request: Request) => { address: string } | null
  remoteAddr?: { hostname?: string }
}
