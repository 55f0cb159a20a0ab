/** Authentication as the settings say, with the auth service's keys. */
import { type Authenticate, createAuthenticate } from '../auth/auth.ts'
import { createJwks, type Keys } from '../auth/jwks.ts'
import { discoveryAddress, type KeyAddress, WrongAddress } from '../auth/key-set.ts'
import { createUserIds, type UserIds } from '../auth/user-id.ts'
import type { Config } from '../config/config.ts'
import { findingsAbout, SetupError } from '../finding.ts'
import type { Log } from '../log.ts'
import type { Secrets } from '../secrets.ts'

type Authentication = { authenticate: Authenticate; userIds: UserIds }

/**
 * Waits for the first fetch of the auth service's keys. One that is down delays the start by a few seconds at most.
 * @param jwtSecrets as the settings say, or of the development token
 * @throws SetupError when there will never be a key set at the address
 */
export async function openAuthentication(
  { auth }: Config,
  jwtSecrets: Secrets | undefined,
  log: Log,
): Promise<Authentication> {
  const { issuer, audience, gatewaySecrets, claims, headers, serviceRole } = auth
  const userIds = createUserIds(auth.userIdNamespace)
  const source = keySourceOf(auth)
  const keys = source && (await openKeys(source, log))
  if (keys !== undefined && audience === undefined)
    log.warn('auth: AUTH_AUDIENCE is not set; tokens that the auth service made for other apps are believed')
  const settings = { jwtSecrets, keys, issuer, audience, gatewaySecrets, userIds, claims, headers, serviceRole }
  return { authenticate: createAuthenticate(settings), userIds }
}

type KeySource = { setting: string; address: KeyAddress }

/** Where the public keys are, and which setting says so; undefined if none does. */
export function keySourceOf({ jwksUrl, issuer, discovers }: Config['auth']): KeySource | undefined {
  if (jwksUrl !== undefined) return { setting: 'AUTH_JWKS_URL', address: { url: jwksUrl } }
  if (!discovers || issuer === undefined) return undefined
  return { setting: 'AUTH_ISSUER', address: discoveryAddress(issuer) }
}

export function wrongAddress(setting: string, { message, cause }: WrongAddress): SetupError {
  const remedy = 'correct it, or the configuration that it leads to'
  return new SetupError([findingsAbout('auth').wrong(setting, message, remedy)], { cause })
}

async function openKeys({ setting, address }: KeySource, log: Log): Promise<Keys> {
  const keys = createJwks({ address, log })
  try {
    await keys.ready
  } catch (error) {
    throw error instanceof WrongAddress ? wrongAddress(setting, error) : error
  }
  return keys
}
