/** The verification of a token's signature by a shared secret, or by one key of several. */
import {
  type CryptoKey,
  createLocalJWKSet,
  decodeProtectedHeader,
  errors,
  type JWK,
  type JWSHeaderParameters,
  type JWTPayload,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose'
import { Problem } from '../problem.ts'
import type { Secrets } from '../secrets.ts'
import type { Keys } from './jwks.ts'

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

export type Verified = {
  payload: JWTPayload
  /** Whether a shared secret signed it; these never change while the process runs. */
  bySecret: boolean
}

/**
 * Verifies a token and its claims. Undefined when no token can be verified.
 * @throws Problem `token_invalid`, or `auth_unavailable` when the token's key is unknown and cannot be fetched
 */
export function createVerify(
  jwtSecrets: Secrets | undefined,
  keys: Keys | undefined,
  claims: JWTVerifyOptions,
): ((token: string) => Promise<Verified>) | undefined {
  if (jwtSecrets === undefined && keys === undefined) return undefined
  const secrets = jwtSecrets?.map((secret) => new TextEncoder().encode(secret)) ?? []
  const options = { ...claims, algorithms: keys === undefined ? [] : KEY_ALGORITHMS }
  return async function verify(token) {
    try {
      const header = decodeProtectedHeader(token)
      if (header.alg !== SECRET_ALGORITHM) return { payload: await byKeys(token, header), bySecret: false }
      return { payload: await bySecrets(token), bySecret: true }
    } catch (error) {
      if (error instanceof Problem) throw error
      if (error instanceof errors.JWTExpired) throw invalid('The token has expired.', error)
      // Any other error, also about a key of the auth service, means that the token was not verified.
      throw invalid('The token is not valid.', error)
    }
  }

  async function bySecrets(token: string): Promise<JWTPayload> {
    for (const secret of secrets) {
      try {
        return (await jwtVerify(token, secret, { ...claims, algorithms: [SECRET_ALGORITHM] })).payload
      } catch (error) {
        if (!isOfThisKey(error)) throw error
      }
    }
    throw invalid('The token is not valid.')
  }

  async function byKeys(token: string, header: JWSHeaderParameters): Promise<JWTPayload> {
    // Decides before any key is asked for that no algorithm but these is used.
    if (keys === undefined || !KEY_ALGORITHMS.includes(header.alg ?? '')) throw invalid('The token is not valid.')
    for await (const jwk of keys.candidates(header)) {
      const key = await importFor(jwk, header)
      if (key === undefined) continue
      try {
        return (await jwtVerify(token, key, options)).payload
      } catch (error) {
        if (!isOfThisKey(error)) throw error
      }
    }
    throw invalid('The token is not valid.')
  }
}

// Importing a key costs more than a verification; jose keeps what it imported for each set.
const sets = new WeakMap<JWK, ReturnType<typeof createLocalJWKSet>>()

/** Undefined for a key that cannot be imported, or that is not for this algorithm. */
async function importFor(jwk: JWK, { alg = '' }: JWSHeaderParameters): Promise<CryptoKey | undefined> {
  try {
    let set = sets.get(jwk)
    if (set === undefined) {
      set = createLocalJWKSet({ keys: [jwk] })
      sets.set(jwk, set)
    }
    // Without the id: the key may have none.
    return await set({ alg })
  } catch {
    return undefined
  }
}

/** Whether another key may still verify the token: this one did not, or is too short (no error of jose). */
function isOfThisKey(error: unknown): boolean {
  return !(error instanceof errors.JOSEError) || error instanceof errors.JWSSignatureVerificationFailed
}

export function invalid(detail: string, cause?: unknown): Problem {
  return new Problem('token_invalid', detail, { cause })
}
