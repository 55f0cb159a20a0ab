/** Authentication as the settings say, with the auth service's keys. */
import { type Authenticate, createAuthenticate } from '../auth/auth.ts'
import { createJwks, type Keys } from '../auth/jwks.ts'
import { discoveryAddress, type KeyAddress, WrongAddress } from '../auth/key-set.ts'
import { createUserIds, type UserIds } from '../auth/user-id.ts'
import type { Config } from '../config/config.ts'
import type { Log } from '../log.ts'

type Authentication = { authenticate: Authenticate; userIds: UserIds }

/**
 * Waits for the first fetch of the auth service's keys. One that is down delays the start by a few seconds at most.
 * @param jwtSecret as the settings say, or of the development token
 * @throws Error, a sentence that names the setting, when there will never be a key set at its address
 */
export async function openAuthentication(
  { auth }: Config,
  jwtSecret: string | undefined,
  log: Log,
): Promise<Authentication> {
  const { jwksUrl, issuer, audience, discovers, gatewaySecret, roleClaim, serviceRole } = auth
  const userIds = createUserIds(auth.userIdNamespace)
  let keys: Keys | undefined
  if (jwksUrl !== undefined) keys = await openKeys('AUTH_JWKS_URL', { url: jwksUrl }, log)
  else if (discovers && issuer !== undefined) keys = await openKeys('AUTH_ISSUER', discoveryAddress(issuer), log)
  if (keys !== undefined && audience === undefined)
    log.warn('auth: AUTH_AUDIENCE is not set; tokens that the auth service made for other apps are believed')
  const settings = { jwtSecret, keys, issuer, audience, gatewaySecret, userIds, roleClaim, serviceRole }
  return { authenticate: createAuthenticate(settings), userIds }
}

async function openKeys(setting: string, address: KeyAddress, log: Log): Promise<Keys> {
  const keys = createJwks({ address, log })
  try {
    await keys.ready
  } catch (error) {
    throw error instanceof WrongAddress ? new Error(`${setting}: ${error.message}`, { cause: error.cause }) : error
  }
  return keys
}
