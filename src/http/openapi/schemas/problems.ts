/** The schema of problems (RFC 9457), and the responses of routes that answer with them. */
import { z } from '@hono/zod-openapi'
import { type ProblemCode, problemCodes } from '../../../problem.ts'
import { statusOf } from '../../request/problem-response.ts'

const ProblemBody = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(problemCodes),
    errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
    id: z.uuid().optional().openapi({ description: 'Id of the media object that the Idempotency-Key belongs to.' }),
    ids: z.array(z.uuid()).optional().openapi({ description: 'Ids of the media objects to blame.' }),
  })
  .openapi('Problem')

type ProblemAnswer = {
  description: string
  content: { 'application/problem+json': { schema: typeof ProblemBody } }
}

/** Problems of any route that takes ids, queries or fields from an authenticated caller. */
export const KNOWN = ['request_invalid', 'token_missing', 'token_invalid', 'rate_limited', 'auth_unavailable'] as const
/** The same for a route with a JSON body. */
export const JSON_BODY = [...KNOWN, 'body_too_large', 'content_type_unsupported'] as const

/** Problems of a route while the database or the store is down. */
export const OUTAGES = ['storage_unavailable', 'database_unavailable'] as const

/** The `responses` of a route for these problems and `internal`, grouped by status. */
export function problems(...codes: ProblemCode[]): Record<number, ProblemAnswer> {
  const answers: Record<number, ProblemAnswer> = {}
  for (const code of [...codes, 'internal'] as const) {
    const status = statusOf(code)
    const before = answers[status]
    answers[status] = {
      description: before === undefined ? `\`${code}\`` : `${before.description}, \`${code}\``,
      content: { 'application/problem+json': { schema: ProblemBody } },
    }
  }
  return answers
}
