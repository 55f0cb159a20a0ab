/** Authenticates a request by its bearer token or by the trusted headers of a gateway. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Secrets } from '../secrets.ts'
import type { Caller, Role } from './caller.ts'
import { claimAt } from './claim.ts'
import type { Keys } from './jwks.ts'
import { createVerify, invalid } from './signature.ts'
import type { UserIds } from './user-id.ts'
import { createVerified } from './verified.ts'

export type AuthSettings = {
  /** Shared secrets of HS256 tokens; absent: no such token is accepted. */
  jwtSecrets: Secrets | undefined
  /** The auth service's public keys; absent: only tokens with the shared secret are accepted. */
  keys?: Keys | undefined
  issuer: string | undefined
  audience: string | undefined
  /** Absent: no gateway is trusted. */
  gatewaySecrets: Secrets | undefined
  userIds: UserIds
  /** Paths of the claims with the user and the role. */
  claims: { user: string; role: string }
  /** Names of a gateway's headers with the user and the role. */
  headers: { user: string; role: string }
  /** The value of the role, alone or in a list, that makes a caller a service. */
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
 * `Authorization` alone decides if it is present; otherwise the headers of a gateway, which are trusted only with the
 * correct `X-Gateway-Secret`.
 */
export function createAuthenticate(settings: AuthSettings): Authenticate {
  const { jwtSecrets, keys, issuer, audience, gatewaySecrets, userIds } = settings
  const verify = createVerify(jwtSecrets, keys, {
    requiredClaims: ['exp'],
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
    const user = claimAt(payload, settings.claims.user)
    const userId = typeof user === 'string' ? userIds.ofSubject(user) : null
    if (userId === null) throw invalid(`The token's ${settings.claims.user} is not the name of a user here.`)
    const expires = ((payload.exp ?? 0) + CLOCK_TOLERANCE_SECONDS) * 1000
    const caller = { userId, role: roleOf(claimAt(payload, settings.claims.role)), expires }
    // The shared secrets never change while the process runs, but the auth service may withdraw a key.
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
    if (gatewaySecrets === undefined || !isOneOf(gatewaySecrets, presented)) {
      throw invalid('X-Gateway-Secret is wrong.')
    }
    const userId = userIds.ofHeader(headers.get(settings.headers.user) ?? '')
    if (userId === null) throw invalid(`${settings.headers.user} is not the name of a user here.`)
    return { userId, role: roleOf(headers.get(settings.headers.role)) }
  }
}

/** Compares digests: they have equal lengths, and the time does not reveal where the secrets differ. */
function isOneOf(secrets: Secrets, presented: string): boolean {
  const digest = (value: string) => createHash('sha256').update(value).digest()
  const given = digest(presented)
  return secrets.some((secret) => timingSafeEqual(given, digest(secret)))
}
