/** Maps refusals of `@tus/server` to Problems. */
import { ERRORS } from '@tus/server'
import { Problem, type ProblemCode } from '../../problem.ts'
import { HttpProblem } from '../request/problem-response.ts'

/** Problem codes by tus status, except where tus 1.0 or its clients need a status of their own. */
const CODES: Record<number, ProblemCode> = {
  400: 'request_invalid',
  // A header is missing.
  403: 'request_invalid',
  404: 'not_found',
  // Upload-Offset does not match the offset of the upload.
  409: 'state_conflict',
  410: 'not_found',
  412: 'precondition_failed',
  413: 'file_too_large',
  // The extension is not supported.
  501: 'request_invalid',
}

/** Converts an error or response of `@tus/server` to a Problem; other errors pass through and become `internal`. */
export function refusalOf(error: unknown): unknown {
  if (error instanceof Problem) return error
  // The holder was asked to stop. Clients retry after 423, but give up after 400.
  if (error === ERRORS.ABORTED) return new Problem('upload_locked', 'Another request has taken over the upload.')
  const refused = typeof error === 'object' && error !== null && 'status_code' in error ? error : undefined
  const code = CODES[Number(refused?.status_code)]
  if (refused === undefined || code === undefined) return error
  const detail = 'body' in refused ? String(refused.body).trim() : ''
  return new Problem(code, detail === '' ? 'The request is not valid.' : detail, { cause: error })
}

// The header that carries each argument.
const HEADERS: Record<string, string> = { size: 'upload-length' }

/** Runs `call`; errors in arguments name the headers they came from. */
export async function byHeaders<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (!(error instanceof Problem) || error.arguments.length === 0) throw error
    const errors = error.arguments.map(({ argument, message }) => ({ field: HEADERS[argument] ?? argument, message }))
    throw new HttpProblem(error.code, error.message, { errors, cause: error })
  }
}
