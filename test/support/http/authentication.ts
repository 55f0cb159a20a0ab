import { createUserIds } from '../../../src/auth/user-id.ts'

/** How callers are told where no setting says otherwise. */
export const DEFAULT_AUTH = {
  issuer: undefined,
  audience: undefined,
  gatewaySecret: undefined,
  userIds: createUserIds(undefined),
  roleClaim: 'role',
  serviceRole: 'service',
}
