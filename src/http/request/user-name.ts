/** A user that a service names in a parameter or field. */
import { z } from '@hono/zod-openapi'
import type { UserIds } from '../../auth/user-id.ts'

/** Becomes the user's UUID. */
export function userName(userIds: UserIds) {
  return z
    .string()
    .min(1)
    .max(255)
    .transform((user, context) => {
      const userId = userIds.ofParameter(user)
      if (userId !== null) return userId
      context.addIssue({ code: 'custom', message: 'is not the name of a user here' })
      return z.NEVER
    })
    .openapi({
      ...(userIds.pattern === null ? {} : { pattern: userIds.pattern }),
      description: "The user's UUID, or where USER_ID_NAMESPACE is set their name at the identity provider.",
      example: '11111111-2222-4333-8444-555555555555',
    })
}
