/** Who sent a request, and whether they may send more: a known caller counts for themselves, all others for their address. */
import type { Context } from 'hono'
import ipaddr from 'ipaddr.js'
import type { Authenticate, Caller } from '../auth/auth.ts'
import { type Limiter, WINDOW_SECONDS } from '../limits/limits.ts'
import { Problem } from '../problem.ts'

/** Null for who has no credentials. Throws Problem `token_invalid`, `auth_unavailable` or `rate_limited`. */
export type Identify = (c: Context) => Promise<Caller | null>

type Deps = {
  authenticate: Authenticate
  /** Absent: nothing is counted. */
  limiter: Limiter | undefined
  /** How many proxies in front of the service add to X-Forwarded-For. */
  trustedProxies: number
}

/** A stranger's flood leaves known callers alone, even where they share an address. */
export function createIdentify({ authenticate, limiter, trustedProxies }: Deps): Identify {
  if (limiter === undefined) return (c) => authenticate(c.req.raw.headers)
  return async function identify(c) {
    let caller: Caller | null = null
    try {
      caller = await authenticate(c.req.raw.headers)
    } catch (error) {
      await count(c, limiter, addressOf(c, trustedProxies))
      throw error
    }
    await count(c, limiter, caller?.userId ?? addressOf(c, trustedProxies))
    return caller
  }
}

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
      headers: { 'retry-after': String(resetSeconds) },
    })
}

/**
 * Where a request comes from, as the last proxy that is trusted saw it; of IPv6 the network (/64), in which anyone has
 * as many addresses as they like.
 */
export function addressOf(c: Context, trustedProxies: number): string {
  const forwarded = trustedProxies > 0 ? c.req.header('x-forwarded-for')?.split(',') : undefined
  const address = forwarded?.at(-trustedProxies)?.trim() ?? peerOf(c)
  if (!ipaddr.isValid(address)) return 'unknown'
  const parsed = ipaddr.process(address)
  return parsed.kind() === 'ipv6' ? `${parsed.toByteArray().slice(0, 8)}` : parsed.toString()
}

/** The other end of the connection, as the server tells it with each request: Bun its server, Deno the connection. */
export function peerOf(c: Context): string {
  const peer: Peer | undefined = c.env?.peer
  return peer?.requestIP?.(c.req.raw)?.address ?? peer?.remoteAddr?.hostname ?? ''
}

type Peer = {
  requestIP?: (request: Request) => { address: string } | null
  remoteAddr?: { hostname?: string }
}
