import { createUserIds } from '../../../src/auth/user-id.ts'

/** How callers are told where no setting says otherwise. */
export const DEFAULT_AUTH = {
  issuer: undefined,
  audience: undefined,
  jwtSecrets: undefined,
  gatewaySecrets: undefined,
  userIds: createUserIds(undefined),
  claims: { user: 'sub', role: 'role' },
  headers: { user: 'X-User-Id', role: 'X-User-Role' },
  serviceRole: 'service',
}
