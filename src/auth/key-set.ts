/** Fetches a key set from its own address, or from where an OpenID configuration says that it is. */
import type { JWK } from 'jose'

export type KeyAddress = {
  /** Of a key set, or of an OpenID configuration that names one. */
  url: string
  /** What the configuration must say that its issuer is; absent: anything. */
  issuer?: string
}

/** There is no key set at an address. Trying again does not help. */
export class WrongAddress extends Error {
  override name = 'WrongAddress'
}

/** The configuration of an issuer (OpenID Connect Discovery 1.0, section 4.1). */
export function discoveryAddress(issuer: string): KeyAddress {
  return { url: `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, issuer }
}

/**
 * @throws WrongAddress for an answer that is neither a key set nor a configuration, or the one of another issuer
 * @throws Error when the auth service is down
 */
export async function fetchKeySet({ url, issuer }: KeyAddress, init: RequestInit): Promise<JWK[]> {
  const found = await fetchJson(url, init)
  if (issuer !== undefined) requireIssuer(found, issuer, url)
  else if (isKeySet(found)) return found.keys
  const next = keySetOf(found, url)
  const keys = await fetchJson(next, init)
  if (!isKeySet(keys)) throw new WrongAddress(`${next} holds no set of keys`)
  return keys.keys
}

/** Compared as it is, with no slash added or removed (section 4.3; RFC 8414, section 3.3). */
function requireIssuer(found: unknown, issuer: string, url: string): void {
  const told = isObject(found) && 'issuer' in found ? found.issuer : undefined
  if (told !== issuer)
    throw new WrongAddress(`${url} says that the issuer is ${JSON.stringify(told) ?? 'nobody'}, not "${issuer}"`)
}

function keySetOf(found: unknown, url: string): string {
  const next = isObject(found) && 'jwks_uri' in found ? found.jwks_uri : undefined
  if (typeof next !== 'string' || !URL.canParse(next)) throw new WrongAddress(`${url} holds no set of keys`)
  const { protocol } = new URL(next)
  // What was asked for over TLS is not trusted to a connection without it.
  if (protocol !== 'https:' && protocol !== new URL(url).protocol)
    throw new WrongAddress(`${url} says that the keys are at an address of ${protocol.slice(0, -1)}`)
  return next
}

// Not found yet, or too often asked.
const TEMPORARY = new Set([408, 425, 429])

async function fetchJson(url: string, init: RequestInit): Promise<unknown> {
  const answer = await fetch(url, init)
  const text = await answer.text()
  if (answer.status >= 500 || TEMPORARY.has(answer.status)) throw new Error(`${url} answered ${answer.status}`)
  if (!answer.ok) throw new WrongAddress(`${url} answered ${answer.status}`)
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new WrongAddress(`${url} answers no JSON`, { cause })
  }
}

function isKeySet(json: unknown): json is { keys: JWK[] } {
  return isObject(json) && 'keys' in json && Array.isArray(json.keys) && json.keys.every(isObject)
}

function isObject(json: unknown): json is object {
  return typeof json === 'object' && json !== null && !Array.isArray(json)
}
