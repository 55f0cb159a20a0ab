/** Maps errors to responses (RFC 9457): the status, title and headers of each problem code. */
import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { type ArgumentError, INVALID_FIELDS, Problem, type ProblemCode } from '../../problem.ts'

/** A code, once published, never changes its status. */
const answers: Record<ProblemCode, [status: ContentfulStatusCode, title: string]> = {
  request_invalid: [400, 'The request is not valid'],
  multipart_malformed: [400, 'The multipart/form-data body cannot be parsed'],
  file_missing: [400, 'The request contains no file'],
  file_empty: [400, 'The file is empty'],
  too_many_parts: [400, 'The multipart/form-data body has too many fields'],
  token_missing: [401, 'Authentication is required'],
  token_invalid: [401, 'The credentials are not valid'],
  forbidden: [403, 'This is not allowed'],
  link_required: [403, 'A signed link is required'],
  not_found: [404, 'Not found'],
  method_not_allowed: [405, 'The method is not allowed here'],
  request_timeout: [408, 'The client sent the request too slowly'],
  upload_incomplete: [409, 'The upload is not complete'],
  state_conflict: [409, 'The state of the object does not allow this'],
  idempotency_conflict: [409, 'The idempotency key belongs to another request'],
  precondition_failed: [412, 'A precondition of the request failed'],
  file_too_large: [413, 'The file is too large'],
  body_too_large: [413, 'The request body is too large'],
  content_type_unsupported: [415, 'The content type of the request is not supported'],
  media_type_unsupported: [415, 'Files of this type are not accepted'],
  range_not_satisfiable: [416, 'The range is outside the file'],
  image_unreadable: [422, 'The picture cannot be read'],
  image_too_large: [422, 'The picture has too many pixels or frames'],
  type_mismatch: [422, 'The bytes do not match the declared type'],
  size_mismatch: [422, 'The bytes do not match the declared size'],
  checksum_mismatch: [422, 'The bytes do not match the declared checksum'],
  checksum_unenforceable: [422, 'The store cannot enforce a checksum'],
  upload_locked: [423, 'Another request is writing to this upload'],
  rate_limited: [429, 'Too many requests'],
  quota_exceeded: [429, 'The quota is used up'],
  internal: [500, 'Internal server error'],
  overloaded: [503, 'The service is overloaded'],
  storage_unavailable: [503, 'The store is not available'],
  database_unavailable: [503, 'The database is not available'],
  auth_unavailable: [503, 'The signing keys of the auth service are not available'],
}

const RETRY_SECONDS = 5

/** An error in one field of the request; `field` is a path such as `size` or `query.limit`. */
export type FieldError = { field: string; message: string }

type Details = { errors?: FieldError[]; headers?: Record<string, string>; cause?: unknown }

/** A problem with HTTP details: the invalid fields of the request, or headers of the response. */
export class HttpProblem extends Problem {
  readonly errors: FieldError[] | undefined
  readonly headers: Record<string, string>

  constructor(code: ProblemCode, detail: string, { errors, headers = {}, cause }: Details) {
    super(code, detail, { cause })
    this.errors = errors
    this.headers = headers
  }
}

/** A `request_invalid` that lists every invalid field. */
export function invalidFields(errors: FieldError[]): HttpProblem {
  return new HttpProblem('request_invalid', INVALID_FIELDS, { errors })
}

export function statusOf(code: ProblemCode): number {
  return answers[code][0]
}

/** Converts any thrown value to a Problem; an unknown error becomes `internal` and its message is not exposed. */
export function toProblem(error: unknown): Problem {
  return error instanceof Problem
    ? error
    : new Problem('internal', 'The server failed to handle the request.', { cause: error })
}

/** Renders a problem as `application/problem+json`, with the headers that its status requires (RFC 9110). */
export function problemResponse(c: Context, problem: Problem): Response {
  const [status, title] = answers[problem.code]
  c.set('problem', problem)
  c.header('content-type', 'application/problem+json')
  c.header('cache-control', 'no-store')
  for (const [name, value] of Object.entries(headersOf(problem, status))) c.header(name, value)
  const body = {
    type: `urn:media-service:problem:${problem.code}`,
    title,
    status,
    detail: problem.message,
    code: problem.code,
    errors: errorsOf(problem),
    id: problem.id,
    ids: problem.ids,
  }
  return c.body(JSON.stringify(body), status)
}

function headersOf(problem: Problem, status: number): Record<string, string> {
  const { retryAfterSeconds = status === 429 || status === 503 ? RETRY_SECONDS : undefined } = problem
  return {
    ...(status === 401 && { 'www-authenticate': challenge(problem.code) }),
    ...(retryAfterSeconds !== undefined && { 'retry-after': String(retryAfterSeconds) }),
    ...(problem instanceof HttpProblem && problem.headers),
  }
}

/** RFC 6750, section 3: a request without credentials gets no error code. */
function challenge(code: ProblemCode): string {
  return code === 'token_missing' ? 'Bearer realm="media"' : 'Bearer realm="media", error="invalid_token"'
}

/** Argument names equal field names, unless the route throws an HttpProblem of its own. */
function errorsOf(problem: Problem): FieldError[] | undefined {
  if (problem instanceof HttpProblem) return problem.errors
  return problem.arguments.length === 0 ? undefined : problem.arguments.map(toFieldError)
}

function toFieldError({ argument, index, message }: ArgumentError): FieldError {
  return { field: index === undefined ? argument : `${argument}.${index}`, message }
}
