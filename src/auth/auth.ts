/** Authenticates a request by its bearer token or by the trusted headers of a gateway. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { errors, type JWTVerifyGetKey, type JWTVerifyOptions, jwtVerify } from 'jose'
import { validate as isUuid } from 'uuid'
import { Problem } from '../problem.ts'
import type { Caller } from './caller.ts'
import { createVerified } from './verified.ts'

export type AuthSettings = {
  /** Shared secret of HS256 tokens; absent: no such token is accepted. */
  jwtSecret: string | undefined
  /** Finds the auth service's public key of a token; absent: only tokens with the shared secret are accepted. */
  jwks?: JWTVerifyGetKey | undefined
  issuer: string | undefined
  audience: string | undefined
  /** Absent: no gateway is trusted. */
  gatewaySecret: string | undefined
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
// The algorithm decides which key verifies a token, never the token: a public key is never used as an HMAC secret.
const SECRET_ALGORITHM = 'HS256'
const KEY_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]

/**
 * `Authorization` alone decides if it is present; otherwise `X-User-Id` and `X-User-Role`, which are trusted only with
 * the correct `X-Gateway-Secret`.
 */
export function createAuthenticate({ jwtSecret, jwks, issuer, audience, gatewaySecret }: AuthSettings): Authenticate {
  const secret = jwtSecret === undefined ? undefined : new TextEncoder().encode(jwtSecret)
  const algorithms = [...(secret ? [SECRET_ALGORITHM] : []), ...(jwks ? KEY_ALGORITHMS : [])]
  const keyOf: JWTVerifyGetKey = (header, token) => {
    const key = header.alg === SECRET_ALGORITHM ? secret : jwks?.(header, token)
    if (key === undefined) throw invalid('The token is not valid.')
    return key
  }
  const options = {
    algorithms,
    requiredClaims: ['exp', 'sub'],
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  }

  const verified = createVerified(VERIFIED_TOKENS)
  async function verify(token: string): Promise<Caller> {
    const { payload, protectedHeader } = await verifySignature(token, keyOf, options)
    const expires = ((payload.exp ?? 0) + CLOCK_TOLERANCE_SECONDS) * 1000
    const caller = { ...toCaller(payload.sub, payload.role, "The token's sub"), expires }
    // The shared secret never changes while the process runs, but the auth service may withdraw a key.
    if (protectedHeader.alg === SECRET_ALGORITHM) verified.remember(token, caller, expires)
    return caller
  }

  return async function authenticate(headers) {
    const authorization = headers.get('authorization')
    if (authorization !== null) {
      const token = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(authorization)?.[1]
      if (token === undefined || algorithms.length === 0) throw invalid('Authorization is not a bearer token.')
      return verified.callerOf(token) ?? verify(token)
    }
    const presented = headers.get('x-gateway-secret')
    if (presented === null) return null
    if (gatewaySecret === undefined || !sameSecret(presented, gatewaySecret)) {
      throw invalid('X-Gateway-Secret is wrong.')
    }
    return toCaller(headers.get('x-user-id'), headers.get('x-user-role'), 'X-User-Id')
  }
}

async function verifySignature(token: string, keyOf: JWTVerifyGetKey, options: JWTVerifyOptions) {
  try {
    return await jwtVerify(token, keyOf, options)
  } catch (error) {
    if (error instanceof Problem) throw error
    if (error instanceof errors.JWTExpired) throw invalid('The token has expired.', error)
    // Any other error, also about a key of the auth service, means that the token was not verified.
    throw invalid('The token is not valid.', error)
  }
}

/** Any role but `service` counts as `user`, because other services use that claim for their own roles. */
function toCaller(userId: unknown, role: unknown, userIdName: string): Caller {
  if (typeof userId !== 'string' || !isUuid(userId)) throw invalid(`${userIdName} is not a UUID.`)
  return { userId: userId.toLowerCase(), role: role === 'service' ? 'service' : 'user' }
}

function invalid(detail: string, cause?: unknown): Problem {
  return new Problem('token_invalid', detail, { cause })
}

/** Compares digests: they have equal lengths, and the time does not reveal where the secrets differ. */
function sameSecret(presented: string, expected: string): boolean {
  const digest = (value: string) => createHash('sha256').update(value).digest()
  return timingSafeEqual(digest(presented), digest(expected))
}
