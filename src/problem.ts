/** The catalogue of errors: each has a code, which clients know, and a kind, by which the service itself decides. */

/**
 * - `invalid-request`: the request is wrong, whatever the state of things.
 * - `refused-bytes`: the bytes themselves are not accepted, and never will be. Completing an upload with such a problem
 *   destroys what was uploaded, so a code gets this kind only where that is right.
 * - `absent`: unknown, deleted and foreign alike.
 * - `conflict`: the object's state does not allow it, now or any more.
 * - `limit`: the caller has had as much as it may.
 * - `outage`: the service cannot do it at the moment; nothing follows from it for the object or its bytes.
 * - `defect`: a fault of the service.
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

/** What is wrong with one argument of a call; `index`: of the item, where the argument is a list. */
export type ArgumentError = { argument: string; index?: number; message: string }

type Details = {
  arguments?: ArgumentError[]
  /** Of the media object that the caller should go on with. */
  id?: string
  /** Before that, trying again is of no use. */
  retryAfterSeconds?: number
  cause?: unknown
}

/** An error with a place in the catalogue, thrown where it is known. */
export class Problem extends Error {
  readonly code: ProblemCode
  readonly kind: ProblemKind
  readonly arguments: ArgumentError[]
  readonly id: string | undefined
  readonly retryAfterSeconds: number | undefined

  /** @param detail what to tell the client; never anything of the inside */
  constructor(code: ProblemCode, detail: string, details: Details = {}) {
    super(detail, { cause: details.cause })
    this.name = 'Problem'
    this.code = code
    this.kind = kinds[code]
    this.arguments = details.arguments ?? []
    this.id = details.id
    this.retryAfterSeconds = details.retryAfterSeconds
  }
}

/** The `detail` of a request of which some fields are wrong. */
export const INVALID_FIELDS = 'Some fields are not valid.'

/** @param limit in bytes */
export function fileTooLarge(limit: number): Problem {
  return new Problem('file_too_large', `The file is larger than ${limit} bytes.`)
}

/** For what is foreign, deleted or unknown alike. */
export function notFound(): Problem {
  return new Problem('not_found', 'There is no such media object, or it is not yours.')
}

/** Whether the service failed, rather than refused something. */
export function isFailure(error: unknown): boolean {
  return !(error instanceof Problem) || error.kind === 'outage' || error.kind === 'defect'
}
