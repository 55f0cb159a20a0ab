/** The public keys (JWKS, RFC 7517) of an auth service: cached, and refreshed in the background. */
import { createRemoteJWKSet, customFetch, type JWTVerifyGetKey } from 'jose'
import type { Log } from '../log.ts'
import { Problem } from '../problem.ts'

// A withdrawn key is accepted for up to this long.
const REFRESH_MS = 10 * 60_000
// An unknown key triggers a refresh, at most this often: tokens with invented key ids cause no flood of requests.
const COOLDOWN_MS = 10_000
const RETRY_MS = 5000
const FETCH_DEADLINE_MS = 5000

/**
 * Finds the key that signed a token. Keys that were fetched once stay valid while the auth service is down; an unknown
 * key then throws Problem `auth_unavailable`, otherwise jose's `JWKSNoMatchingKey`. The first fetch begins at once, in
 * the background: if it fails, the service starts anyway and the log says so.
 */
export function createJwks({ url, log }: { url: string; log: Log }): JWTVerifyGetKey {
  let retryAt = 0
  let refreshAt = Number.POSITIVE_INFINITY

  async function load(input: string, init: RequestInit): Promise<Response> {
    if (Date.now() < retryAt) throw unavailable()
    try {
      const answer = await fetch(input, init)
      const text = await answer.text()
      if (!answer.ok) throw new Error(`${url} answered ${answer.status}`)
      if (!isKeySet(JSON.parse(text))) throw new Error(`${url} holds no set of keys`)
      refreshAt = Date.now() + REFRESH_MS
      return new Response(text)
    } catch (error) {
      retryAt = Date.now() + RETRY_MS
      log.warn({ err: error }, 'auth: the keys of the auth service cannot be fetched')
      throw unavailable(error)
    }
  }

  const keys = createRemoteJWKSet(new URL(url), {
    // Refreshed here, because jose rejects known keys when its own refresh fails.
    cacheMaxAge: Number.POSITIVE_INFINITY,
    cooldownDuration: COOLDOWN_MS,
    timeoutDuration: FETCH_DEADLINE_MS,
    [customFetch]: load,
  })
  // `load` has logged why it failed, and runs again soon.
  const follow = () => void keys.reload().catch(() => {})
  follow()

  return async function keyOf(header, token) {
    if (Date.now() > refreshAt) {
      refreshAt = Date.now() + RETRY_MS
      follow()
    }
    return keys(header, token)
  }
}

function isKeySet(json: unknown): boolean {
  return isObject(json) && 'keys' in json && Array.isArray(json.keys) && json.keys.every(isObject)
}

function isObject(json: unknown): json is object {
  return typeof json === 'object' && json !== null && !Array.isArray(json)
}

function unavailable(cause?: unknown): Problem {
  return new Problem('auth_unavailable', 'The token cannot be checked at the moment. Try again.', { cause })
}
