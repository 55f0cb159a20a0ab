/**
 * The error catalogue and the one place that turns an error into a response (RFC 9457).
 * A code, once published, never changes its meaning or its status.
 */
import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'

const catalogue = {
  request_invalid: [400, 'The request is not valid'],
  multipart_malformed: [400, 'The multipart body cannot be read'],
  file_missing: [400, 'There is no file in the request'],
  file_empty: [400, 'The file is empty'],
  too_many_parts: [400, 'The multipart body has too many parts'],
  token_missing: [401, 'Authentication is required'],
  token_invalid: [401, 'The credentials are not valid'],
  forbidden: [403, 'This is not allowed'],
  link_required: [403, 'Only a signed link gives this'],
  not_found: [404, 'There is nothing here'],
  method_not_allowed: [405, 'The method is not allowed here'],
  request_timeout: [408, 'The request came too slowly'],
  upload_incomplete: [409, 'The bytes have not arrived yet'],
  state_conflict: [409, 'The object is not in a state that allows this'],
  idempotency_conflict: [409, 'The idempotency key belongs to another request'],
  precondition_failed: [412, 'A condition of the request does not hold'],
  file_too_large: [413, 'The file is too large'],
  body_too_large: [413, 'The request body is too large'],
  content_type_unsupported: [415, 'The content type of the request is not supported'],
  media_type_unsupported: [415, 'Files of this type are not accepted'],
  range_not_satisfiable: [416, 'The range is outside of the file'],
  image_unreadable: [422, 'The picture cannot be read'],
  image_too_large: [422, 'The picture has too many pixels or frames'],
  type_mismatch: [422, 'The bytes are of another type than was declared'],
  size_mismatch: [422, 'The bytes are of another size than was declared'],
  checksum_mismatch: [422, 'The bytes have another checksum than was declared'],
  checksum_unenforceable: [422, 'The store cannot enforce a checksum'],
  upload_locked: [423, 'Another request is writing to this upload'],
  rate_limited: [429, 'Too many requests'],
  quota_exceeded: [429, 'The quota is used up'],
  internal: [500, 'Something went wrong here'],
  overloaded: [503, 'The service is overloaded'],
  storage_unavailable: [503, 'The store is not available'],
  database_unavailable: [503, 'The database is not available'],
  auth_unavailable: [503, 'The keys of the auth service are not available'],
} as const satisfies Record<string, [ContentfulStatusCode, string]>

export type ProblemCode = keyof typeof catalogue
export const problemCodes = Object.keys(catalogue) as [ProblemCode, ...ProblemCode[]]

/** One thing wrong with one field; `field` is a path such as `size` or `query.limit`. */
export type FieldError = { field: string; message: string }

/** `id`: of the media object that the caller should go on with. */
type Details = { errors?: FieldError[]; id?: string; headers?: Record<string, string>; cause?: unknown }

/** An error with a place in the catalogue: thrown where it is known, answered by `problemResponse`. */
export class Problem extends Error {
  readonly code: ProblemCode
  readonly status: ContentfulStatusCode
  readonly title: string
  readonly errors: FieldError[] | undefined
  readonly id: string | undefined
  readonly headers: Record<string, string>

  /** @param detail what to tell the client; never anything of the inside */
  constructor(code: ProblemCode, detail: string, { errors, id, headers, cause }: Details = {}) {
    super(detail, { cause })
    this.name = 'Problem'
    const [status, title] = catalogue[code]
    this.code = code
    this.status = status
    this.title = title
    this.errors = errors
    this.id = id
    this.headers = headers ?? {}
  }
}

/** @param limit in bytes */
export function fileTooLarge(limit: number): Problem {
  return new Problem('file_too_large', `The file is larger than ${limit} bytes.`)
}

/** For what is foreign, deleted or unknown alike. */
export function notFound(): Problem {
  return new Problem('not_found', 'There is no such media object, or it is not yours.')
}

/** The status of a code, for the OpenAPI document. */
export function statusOf(code: ProblemCode): number {
  return catalogue[code][0]
}

/** Anything thrown as a problem: what is not one already is `internal`, with nothing of its text. */
export function toProblem(error: unknown): Problem {
  return error instanceof Problem
    ? error
    : new Problem('internal', 'The request failed for a reason that is not yours.', { cause: error })
}

/** A problem as `application/problem+json`, with the headers that its status asks for (RFC 9110). */
export function problemResponse(c: Context, problem: Problem): Response {
  c.set('problem', problem)
  c.header('content-type', 'application/problem+json')
  c.header('cache-control', 'no-store')
  if (problem.status === 401) c.header('www-authenticate', challenge(problem.code))
  if (problem.status === 429 || problem.status === 503) c.header('retry-after', '5')
  for (const [name, value] of Object.entries(problem.headers)) c.header(name, value)
  const body = {
    type: `urn:media-service:problem:${problem.code}`,
    title: problem.title,
    status: problem.status,
    detail: problem.message,
    code: problem.code,
    errors: problem.errors,
    id: problem.id,
  }
  return c.body(JSON.stringify(body), problem.status)
}

/** RFC 6750, section 3: no error code when there were no credentials at all. */
function challenge(code: ProblemCode): string {
  return code === 'token_missing' ? 'Bearer realm="media"' : 'Bearer realm="media", error="invalid_token"'
}
