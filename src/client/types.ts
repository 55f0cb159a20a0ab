/**
 * What the service takes and answers. Written out, so that the package's declarations import nothing;
 * `test/client/types.test.ts` in the repository fails when a type here differs from the service's own.
 */

export type Visibility = 'private' | 'public'

/** A stored file. */
export type MediaObject = {
  /** A UUID. */
  id: string
  /** The owner's UUID. */
  userId: string
  originalName: string
  /** As the bytes say, whatever was declared. */
  mimeType: string
  sizeBytes: number
  /** Where the store keeps the bytes. */
  key: string
  /** Stable address of the bytes; redirects to a short-lived link. */
  url: string
  metadata: {
    /** Pixels as a person sees them, orientation applied; null where the file is no picture. */
    width: number | null
    height: number | null
    /** Placeholder, a ThumbHash in base64; null until it is made, which is after the upload. */
    thumbHash: string | null
    /** As `#4a6b8c`; null until it is known, which is after the upload. */
    dominantColor: string | null
  }
  visibility: Visibility
  status: 'active' | 'deleted'
  /** RFC 3339. */
  createdAt: string
}

/** With links to the bytes that need no credentials. */
export type SignedMediaObject = MediaObject & {
  signedUrl: string
  /** RFC 3339. */
  signedUrlExpiresAt: string
  /** As asked for, smallest first. */
  renditions?: { width: number; height: number; url: string }[] | undefined
}

export type MediaPage = {
  items: SignedMediaObject[]
  /** `cursor` of the next page; null at the end. */
  nextCursor: string | null
}

/** What can be changed of an object: at least one of both. */
export type Change = { originalName?: string | undefined; visibility?: Visibility | undefined }

/** What is stored or reserved, soft-deleted objects included; a quota of null is no limit. */
export type Usage = { bytes: number; objects: number; quotaBytes: number | null; quotaObjects: number | null }

/** A link that takes one file. */
export type Presigned = {
  id: string
  key: string
  uploadUrl: string
  method: 'PUT'
  /** To be sent with the bytes, as they are. */
  headers: Record<string, string>
  publicUrl: string
  expiresAt: string
}

/** An upload in parts. */
export type Multipart = {
  id: string
  key: string
  uploadId: string
  /** Bytes of every part; the last one has what is left. */
  partSize: number
  expiresAt: string
}

/** The parts that have arrived. */
export type Parts = { parts: { partNumber: number; size: number; etag: string }[] }

/** Links that take one part each. */
export type PartLinks = { urls: { partNumber: number; url: string }[]; expiresAt: string }

/** What happened to an object. */
export type MediaEvent = {
  channel: 'photo:uploaded' | 'photo:updated' | 'photo:deleted' | 'photo:restored' | 'photo:purged'
  payload: {
    /** Of the object. */
    id: string
    userId: string
    /** The same when the event is sent again. */
    eventId: string
    /** Counts up by one for each event of the object. */
    seq: number
    /** RFC 3339. */
    occurredAt: string
    [field: string]: unknown
  }
}

/** `code` of the problems (RFC 9457) that the service answers. */
export type ProblemCode =
  | 'request_invalid'
  | 'multipart_malformed'
  | 'file_missing'
  | 'file_empty'
  | 'too_many_parts'
  | 'token_missing'
  | 'token_invalid'
  | 'forbidden'
  | 'link_required'
  | 'not_found'
  | 'method_not_allowed'
  | 'request_timeout'
  | 'upload_incomplete'
  | 'state_conflict'
  | 'idempotency_conflict'
  | 'precondition_failed'
  | 'file_too_large'
  | 'body_too_large'
  | 'content_type_unsupported'
  | 'media_type_unsupported'
  | 'range_not_satisfiable'
  | 'image_unreadable'
  | 'image_too_large'
  | 'type_mismatch'
  | 'size_mismatch'
  | 'checksum_mismatch'
  | 'checksum_unenforceable'
  | 'upload_locked'
  | 'rate_limited'
  | 'quota_exceeded'
  | 'internal'
  | 'overloaded'
  | 'storage_unavailable'
  | 'database_unavailable'
  | 'auth_unavailable'
