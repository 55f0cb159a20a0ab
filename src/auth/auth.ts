/** Authenticates a request by its bearer token or by the trusted headers of a gateway. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Caller, Role } from './caller.ts'
import { claimAt } from './claim.ts'
import type { Keys } from './jwks.ts'
import { createVerify, invalid } from './signature.ts'
import type { UserIds } from './user-id.ts'
import { createVerified } from './verified.ts'

export type AuthSettings = {
  /** Shared secret of HS256 tokens; absent: no such token is accepted. */
  jwtSecret: string | undefined
  /** The auth service's public keys; absent: only tokens with the shared secret are accepted. */
  keys?: Keys | undefined
  issuer: string | undefined
  audience: string | undefined
  /** Absent: no gateway is trusted. */
  gatewaySecret: string | undefined
  userIds: UserIds
  /** Path of the claim with the role. */
  roleClaim: string
  /** The value of that claim, alone or in a list, and of X-User-Role, that makes a caller a service. */
  serviceRole: string
}

/**
 * The caller that sent these headers; null when they carry no credentials.
 * @throws Problem `token_invalid`, or `auth_unavailable` when the token's key is unknown and cannot be fetched
 */
export type Authenticate = (headers: Headers) => Promise<Caller | null>

// Clocks of two machines with NTP differ by less than this.
const CLOCK_TOLERANCE_SECONDS = 5
// About 2 MB of memory.
const VERIFIED_TOKENS = 10_000

/**
 * `Authorization` alone decides if it is present; otherwise `X-User-Id` and `X-User-Role`, which are trusted only with
 * the correct `X-Gateway-Secret`.
 */
export function createAuthenticate(settings: AuthSettings): Authenticate {
  const { jwtSecret, keys, issuer, audience, gatewaySecret, userIds, roleClaim } = settings
  const verify = createVerify(jwtSecret, keys, {
    requiredClaims: ['exp', 'sub'],
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  })
  const roleOf = (value: unknown): Role => {
    const roles: unknown[] = Array.isArray(value) ? value : [value]
    return roles.includes(settings.serviceRole) ? 'service' : 'user'
  }

  const verified = createVerified(VERIFIED_TOKENS)
  async function callerOf(token: string, verifyToken: NonNullable<typeof verify>): Promise<Caller> {
    const { payload, bySecret } = await verifyToken(token)
    // jose does not look at the type of `sub`.
    const sub: unknown = payload.sub
    const userId = typeof sub === 'string' ? userIds.ofSubject(sub) : null
    if (userId === null) throw invalid("The token's sub is not the name of a user here.")
    const expires = ((payload.exp ?? 0) + CLOCK_TOLERANCE_SECONDS) * 1000
    const caller = { userId, role: roleOf(claimAt(payload, roleClaim)), expires }
    // The shared secret never changes while the process runs, but the auth service may withdraw a key.
    if (bySecret) verified.remember(token, caller, expires)
    return caller
  }

  return async function authenticate(headers) {
    const authorization = headers.get('authorization')
    if (authorization !== null) {
      const token = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(authorization)?.[1]
      if (token === undefined || verify === undefined) throw invalid('Authorization is not a bearer token.')
      return verified.callerOf(token) ?? callerOf(token, verify)
    }
    const presented = headers.get('x-gateway-secret')
    if (presented === null) return null
    if (gatewaySecret === undefined || !sameSecret(presented, gatewaySecret)) {
      throw invalid('X-Gateway-Secret is wrong.')
    }
    const userId = userIds.ofHeader(headers.get('x-user-id') ?? '')
    if (userId === null) throw invalid('X-User-Id is not the name of a user here.')
    return { userId, role: roleOf(headers.get('x-user-role')) }
  }
}

/** Compares digests: they have equal lengths, and the time does not reveal where the secrets differ. */
function sameSecret(presented: string, expected: string): boolean {
  const digest = (value: string) => createHash('sha256').update(value).digest()
  return timingSafeEqual(digest(presented), digest(expected))
}
