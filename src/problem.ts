/** The catalogue of errors: a stable code for clients, and a kind by which the service itself decides. */

/**
 * - `invalid-request`: the request is wrong, whatever the state of the object.
 * - `refused-bytes`: the bytes are not accepted and never will be. Completing an upload with such a problem destroys
 *   the uploaded bytes, so give a code this kind only where that is right.
 * - `absent`: unknown, deleted or foreign; the three are indistinguishable.
 * - `conflict`: the state of the object does not allow the operation.
 * - `limit`: the caller has used up a rate limit or quota.
 * - `outage`: a temporary failure; it implies nothing about the object or its bytes.
 * - `defect`: a bug in the service.
 */
export type ProblemKind =
  | 'invalid-request'
  | 'refused-bytes'
  | 'unauthenticated'
  | 'forbidden'
  | 'absent'
  | 'conflict'
  | 'limit'
  | 'outage'
  | 'defect'

const kinds = {
  request_invalid: 'invalid-request',
  multipart_malformed: 'invalid-request',
  file_missing: 'invalid-request',
  file_empty: 'refused-bytes',
  too_many_parts: 'invalid-request',
  token_missing: 'unauthenticated',
  token_invalid: 'unauthenticated',
  forbidden: 'forbidden',
  link_required: 'forbidden',
  not_found: 'absent',
  method_not_allowed: 'invalid-request',
  request_timeout: 'invalid-request',
  upload_incomplete: 'conflict',
  state_conflict: 'conflict',
  idempotency_conflict: 'conflict',
  precondition_failed: 'invalid-request',
  file_too_large: 'refused-bytes',
  body_too_large: 'invalid-request',
  content_type_unsupported: 'invalid-request',
  media_type_unsupported: 'refused-bytes',
  range_not_satisfiable: 'invalid-request',
  image_unreadable: 'refused-bytes',
  image_too_large: 'refused-bytes',
  type_mismatch: 'refused-bytes',
  size_mismatch: 'refused-bytes',
  checksum_mismatch: 'refused-bytes',
  checksum_unenforceable: 'invalid-request',
  upload_locked: 'conflict',
  rate_limited: 'limit',
  quota_exceeded: 'limit',
  internal: 'defect',
  overloaded: 'outage',
  storage_unavailable: 'outage',
  database_unavailable: 'outage',
  auth_unavailable: 'outage',
} as const satisfies Record<string, ProblemKind>

/** A code, once published, never changes its meaning. */
export type ProblemCode = keyof typeof kinds
export const problemCodes = Object.keys(kinds) as [ProblemCode, ...ProblemCode[]]

/** An error in one argument of a call; `index` is the position of the item in a list argument. */
export type ArgumentError = { argument: string; index?: number; message: string }

type Details = {
  arguments?: ArgumentError[]
  /** The id of the media object that the caller should continue with. */
  id?: string
  /** The ids of the media objects to blame, where a call names several. */
  ids?: string[]
  /** How long to wait before a retry can succeed. */
  retryAfterSeconds?: number
  cause?: unknown
}

/** An error of the catalogue, thrown where its cause is known. */
export class Problem extends Error {
  readonly code: ProblemCode
  readonly kind: ProblemKind
  readonly arguments: ArgumentError[]
  readonly id: string | undefined
  readonly ids: string[] | undefined
  readonly retryAfterSeconds: number | undefined

  /** @param detail the message for the client; never exposes internals */
  constructor(code: ProblemCode, detail: string, details: Details = {}) {
    super(detail, { cause: details.cause })
    this.name = 'Problem'
    this.code = code
    this.kind = kinds[code]
    this.arguments = details.arguments ?? []
    this.id = details.id
    this.ids = details.ids
    this.retryAfterSeconds = details.retryAfterSeconds
  }
}

/** The `detail` of every response that lists invalid fields. */
export const INVALID_FIELDS = 'Some fields are not valid.'

/** @param limit in bytes */
export function fileTooLarge(limit: number): Problem {
  return new Problem('file_too_large', `The file is larger than ${limit} bytes.`)
}

/** The same problem for foreign, deleted and unknown objects. */
export function notFound(): Problem {
  return new Problem('not_found', 'The media object does not exist or belongs to another owner.')
}

/** Whether the service failed, as opposed to refusing the request. */
export function isFailure(error: unknown): boolean {
  return !(error instanceof Problem) || error.kind === 'outage' || error.kind === 'defect'
}
