/** Converts zod issues into one problem that lists every invalid field. */
import type { Hook, z } from '@hono/zod-openapi'
import type { Env } from 'hono'
import type { Problem } from '../../problem.ts'
import { type FieldError, invalidFields } from './problem-response.ts'

/** A hook for `OpenAPIHono`: throws Problem `request_invalid` when a route's schemas reject the request. */
export const refuseInvalid: Hook<unknown, Env, string, unknown> = (result) => {
  if (!result.success) throw requestInvalid(result.error.issues)
}

/** @throws Problem `request_invalid` */
export function parse<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const result = schema.safeParse(input)
  if (!result.success) throw requestInvalid(result.error.issues)
  return result.data
}

function requestInvalid(issues: readonly z.core.$ZodIssue[]): Problem {
  return invalidFields(issues.flatMap(toErrors))
}

function toErrors(issue: z.core.$ZodIssue): FieldError[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((field) => ({ field, message: 'is not known' }))
  return [{ field: issue.path.join('.'), message: issue.message }]
}
