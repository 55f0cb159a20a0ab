/** tus' own refusals in the words of our catalogue. */
import { ERRORS } from '@tus/server'
import { Problem, type ProblemCode } from '../../problem.ts'
import { HttpProblem } from '../request/problem-response.ts'

/** By status, where tus 1.0 or its clients do not need another one than it has in the catalogue. */
const CODES: Record<number, ProblemCode> = {
  400: 'request_invalid',
  // For a header that is missing.
  403: 'request_invalid',
  404: 'not_found',
  // Upload-Offset is not how far the upload is.
  409: 'state_conflict',
  410: 'not_found',
  412: 'precondition_failed',
  413: 'file_too_large',
  // An extension that is not there.
  501: 'request_invalid',
}

/** Anything that `@tus/server` threw, or answered, as a Problem; what it does not mean as a refusal is `internal`. */
export function refusalOf(error: unknown): unknown {
  if (error instanceof Problem) return error
  // It was asked to stop: clients try again after 423, after 400 they give up.
  if (error === ERRORS.ABORTED) return new Problem('upload_locked', 'Another request has taken the upload over.')
  const refused = typeof error === 'object' && error !== null && 'status_code' in error ? error : undefined
  const code = CODES[Number(refused?.status_code)]
  if (refused === undefined || code === undefined) return error
  const detail = 'body' in refused ? String(refused.body).trim() : ''
  return new Problem(code, detail === '' ? 'The request is not valid.' : detail, { cause: error })
}

// Which header says what an argument is.
const HEADERS: Record<string, string> = { size: 'upload-length' }

/** What a call gives; arguments that it refuses are told as the headers that they came in. */
export async function byHeaders<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (!(error instanceof Problem) || error.arguments.length === 0) throw error
    const errors = error.arguments.map(({ argument, message }) => ({ field: HEADERS[argument] ?? argument, message }))
    throw new HttpProblem(error.code, error.message, { errors, cause: error })
  }
}
