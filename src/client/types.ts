/**
 * Request and response types of the service, spelled out so that the package's declarations import nothing.
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
  /** Media type, detected from the bytes. */
  mimeType: string
  sizeBytes: number
  /** Key of the bytes in the store. */
  key: string
  /** Stable address of the bytes; redirects to a short-lived link. */
  url: string
  metadata: {
    /** Displayed size in pixels, orientation applied; null for non-images. */
    width: number | null
    height: number | null
    /** Placeholder, a ThumbHash in base64; null until it is computed after the upload. */
    thumbHash: string | null
    /** Such as `#4a6b8c`; null until it is computed after the upload. */
    dominantColor: string | null
  }
  visibility: Visibility
  status: 'active' | 'deleted'
  /** RFC 3339. */
  createdAt: string
  /** RFC 3339; until when the object is held, unless it is claimed. Shown to the owner. */
  expiresAt?: string | undefined
}

/** With links to the bytes that need no credentials. */
export type SignedMediaObject = MediaObject & {
  signedUrl: string
  /** RFC 3339. */
  signedUrlExpiresAt: string
  /** In the requested widths, smallest first. */
  renditions?: { width: number; height: number; url: string }[] | undefined
}

export type MediaPage = {
  items: SignedMediaObject[]
  /** `cursor` of the next page; null on the last page. */
  nextCursor: string | null
}

/** Changes to an object; at least one of the two. */
export type Change = { originalName?: string | undefined; visibility?: Visibility | undefined }

/** Stored and reserved, soft-deleted objects included; a null quota means no limit. */
export type Usage = { bytes: number; objects: number; quotaBytes: number | null; quotaObjects: number | null }

/** A presigned link for one file. */
export type Presigned = {
  id: string
  key: string
  uploadUrl: string
  method: 'PUT'
  /** Headers to send unchanged with the bytes. */
  headers: Record<string, string>
  publicUrl: string
  expiresAt: string
}

/** A multipart upload. */
export type Multipart = {
  id: string
  key: string
  uploadId: string
  /** Size of each part in bytes; the last part is the remainder. */
  partSize: number
  expiresAt: string
}

/** The uploaded parts. */
export type Parts = { parts: { partNumber: number; size: number; etag: string }[] }

/** Presigned links, each for one part. */
export type PartLinks = {
  /** `headers`: to send unchanged with the bytes. */
  urls: { partNumber: number; url: string; headers: Record<string, string> }[]
  expiresAt: string
}

/** A change of an object. */
export type MediaEvent = {
  channel: 'photo:uploaded' | 'photo:updated' | 'photo:deleted' | 'photo:restored' | 'photo:purged'
  payload: {
    /** Id of the object. */
    id: string
    userId: string
    /** Id of the event; a redelivery has the same. */
    eventId: string
    /** Increases by one with each event of the object. */
    seq: number
    /** RFC 3339. */
    occurredAt: string
    [field: string]: unknown
  }
}

/** Values of `code` in problem responses (RFC 9457). */
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
