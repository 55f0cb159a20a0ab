/** Who is calling: a bearer token, or the trusted headers of a gateway. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { errors, type JWTPayload, jwtVerify } from 'jose'
import { validate as isUuid } from 'uuid'
import { Problem } from '../problem.ts'

export type Role = 'user' | 'service'
/** A caller who is known. `service` may act for everyone. */
export type Caller = { userId: string; role: Role }

export type AuthSettings = {
  /** Shared secret of HS256 tokens; absent: no bearer token is accepted. */
  jwtSecret: string | undefined
  issuer: string | undefined
  audience: string | undefined
  /** Absent: no gateway is trusted. */
  gatewaySecret: string | undefined
}

/** Who sent these headers; null when they carry no credentials. Throws Problem `token_invalid`. */
export type Authenticate = (headers: Headers) => Promise<Caller | null>

// Clocks of two well-kept machines differ by less than this.
const CLOCK_TOLERANCE_SECONDS = 5

/**
 * `Authorization` decides alone where it is there; else `X-User-Id` and `X-User-Role`,
 * believed only together with the right `X-Gateway-Secret`.
 */
export function createAuthenticate({ jwtSecret, issuer, audience, gatewaySecret }: AuthSettings): Authenticate {
  const key = jwtSecret === undefined ? undefined : new TextEncoder().encode(jwtSecret)
  const options = {
    algorithms: ['HS256'],
    requiredClaims: ['exp', 'sub'],
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  }

  return async function authenticate(headers) {
    const authorization = headers.get('authorization')
    if (authorization !== null) {
      const token = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(authorization)?.[1]
      if (token === undefined || key === undefined) throw invalid('Authorization is not a bearer token.')
      const { sub, role } = await verify(token, key, options)
      return toCaller(sub, role, "The token's sub")
    }
    const presented = headers.get('x-gateway-secret')
    if (presented === null) return null
    if (gatewaySecret === undefined || !sameSecret(presented, gatewaySecret)) {
      throw invalid('X-Gateway-Secret is wrong.')
    }
    return toCaller(headers.get('x-user-id'), headers.get('x-user-role'), 'X-User-Id')
  }
}

async function verify(token: string, key: Uint8Array, options: Parameters<typeof jwtVerify>[2]): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, key, options)).payload
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw invalid('The token has expired.', error)
    if (error instanceof errors.JOSEError) throw invalid('The token is not valid.', error)
    throw error
  }
}

/** Any role but `service` is a user's: other services give that claim meanings of their own. */
function toCaller(userId: unknown, role: unknown, userIdName: string): Caller {
  if (typeof userId !== 'string' || !isUuid(userId)) throw invalid(`${userIdName} is not a UUID.`)
  return { userId: userId.toLowerCase(), role: role === 'service' ? 'service' : 'user' }
}

function invalid(detail: string, cause?: unknown): Problem {
  return new Problem('token_invalid', detail, { cause })
}

/** Compares digests: equal lengths, and a time that tells nothing about where they differ. */
function sameSecret(presented: string, expected: string): boolean {
  const digest = (value: string) => createHash('sha256').update(value).digest()
  return timingSafeEqual(digest(presented), digest(expected))
}
