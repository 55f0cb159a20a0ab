/** The public keys (JWKS, RFC 7517) of an auth service: cached, and refreshed in the background. */
import { createRemoteJWKSet, customFetch, type JWK, type JWSHeaderParameters } from 'jose'
import type { Log } from '../log.ts'
import { Problem } from '../problem.ts'
import { fetchKeySet, type KeyAddress, WrongAddress } from './key-set.ts'

// A withdrawn key is accepted for up to this long.
const REFRESH_MS = 10 * 60_000
// An unknown key triggers a refresh, at most this often: tokens with invented key ids cause no flood of requests.
const COOLDOWN_MS = 10_000
const RETRY_MS = 5000
const FETCH_DEADLINE_MS = 5000

export type Keys = {
  /**
   * The keys that may have signed a token, the likeliest first; when they are used up, those that the auth service has
   * published since. Throws Problem `auth_unavailable` when these cannot be fetched.
   */
  candidates(header: JWSHeaderParameters): AsyncGenerator<JWK, void, void>
  /**
   * Resolves once the first fetch is over. One that fails because the auth service is down is only logged.
   * @throws WrongAddress when there is no key set at the address, and there will never be one
   */
  ready: Promise<void>
}

/**
 * Keys that were fetched once stay valid while the auth service is down. The first fetch begins at once, in the
 * background: if it fails, the service starts anyway and the log says so.
 */
export function createJwks({ address, log }: { address: KeyAddress; log: Log }): Keys {
  let current: JWK[] | undefined
  let retryAt = 0
  let refreshAt = Number.POSITIVE_INFINITY

  async function load(_: string, init: RequestInit): Promise<Response> {
    if (Date.now() < retryAt) throw unavailable()
    try {
      const keys = await fetchKeySet(address, init)
      refreshAt = Date.now() + REFRESH_MS
      current = keys
      return Response.json({ keys })
    } catch (error) {
      retryAt = Date.now() + RETRY_MS
      log.warn({ err: error }, 'auth: the keys of the auth service cannot be fetched')
      throw unavailable(error)
    }
  }

  const remote = createRemoteJWKSet(new URL(address.url), {
    // Refreshed here, because jose rejects known keys when its own refresh fails.
    cacheMaxAge: Number.POSITIVE_INFINITY,
    cooldownDuration: COOLDOWN_MS,
    timeoutDuration: FETCH_DEADLINE_MS,
    [customFetch]: load,
  })
  // `load` has logged why it failed, and runs again soon.
  const follow = () => void remote.reload().catch(() => {})
  const ready = remote.reload().catch((error: unknown) => {
    if (error instanceof Problem && error.cause instanceof WrongAddress) throw error.cause
  })

  return {
    // Handled even if nobody waits for it.
    ready: handled(ready),
    async *candidates(header) {
      if (Date.now() > refreshAt) {
        refreshAt = Date.now() + RETRY_MS
        follow()
      }
      if (current === undefined) await remote.reload()
      const known = current ?? []
      yield* matching(known, header)
      // A key of that id is there, so it signed the token or nothing of the auth service did.
      if (known.some(({ kid }) => kid !== undefined && kid === header.kid) || remote.coolingDown) return
      await remote.reload()
      yield* matching(current ?? [], header)
    },
  }
}

/** The key that the token names, then those without an id; all keys for a token that names none. */
function* matching(keys: JWK[], { kid }: JWSHeaderParameters): Generator<JWK> {
  if (kid !== undefined) yield* keys.filter((key) => key.kid === kid)
  yield* keys.filter((key) => key.kid === undefined || kid === undefined)
}

function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

function unavailable(cause?: unknown): Problem {
  return new Problem('auth_unavailable', 'The token cannot be checked at the moment. Try again.', { cause })
}
