/**
 * The storage port, with its contract. Every implementation passes `test/contract/storage.test.ts`.
 *
 * Keys are relative paths of ASCII letters, digits, `-`, `_`, `.` and `/`. Bytes under a key never change: a key is
 * written once, then read, then removed. Every failure that the caller did not cause is thrown as Problem
 * `storage_unavailable`; the outcome of a write that failed in this way is unknown.
 */
import type { Cancel } from './cancel.ts'
import type { MultipartStorage } from './multipart.ts'

export interface Storage {
  /** For logs and readiness. */
  readonly name: 's3' | 'disk'

  /**
   * Stores the bytes durably before it resolves, or not at all; times out after `putDeadlineMs(bytes.length)`. Type and
   * disposition are stored with the object, for readers without a signed link (a CDN).
   */
  put(
    key: string,
    bytes: Uint8Array,
    options: Pick<Presentation, 'contentType'> & Partial<Presentation> & Cancel,
  ): Promise<void>

  /** The conditions that upload links to this store enforce. */
  readonly enforces: Enforcement

  /** The object's size and headers; null when nothing is stored under the key. */
  head(key: string, options?: Cancel): Promise<StoredHead | null>

  /**
   * The result of `head` and the object's first `length` bytes (at least 1; all bytes of a shorter object), as one
   * snapshot by one call. Null when nothing is stored. An answer without the size, or with too few bytes, is an outage:
   * it proves nothing about the object.
   */
  peek(key: string, options: { length: number } & Cancel): Promise<(StoredHead & { bytes: Uint8Array }) | null>

  /** Up to `length` bytes from `start`; fewer at the end of the object. Rejects when nothing is stored. */
  read(key: string, range: { start: number; length: number } & Cancel): Promise<Uint8Array>

  /**
   * Copies an object of this size within the store if it still has this ETag; rejects otherwise. The copy gets the type
   * and disposition in `as`. Times out after `copyDeadlineMs(size)`.
   */
  copy(from: string, to: string, options: { etag: string; size: number; as: Presentation } & Cancel): Promise<void>

  /** Up to `limit` (1–1,000) objects below a prefix, in the byte order of their keys, after `startAfter`. */
  list(options: { prefix: string; startAfter?: string; limit: number } & Cancel): Promise<ListedObject[]>

  /** Removes these (1–1,000) objects, as many as possible. A missing object counts as removed. */
  remove(keys: readonly string[], options?: Cancel): Promise<void>

  /** Removes everything below a prefix that ends with `/`; succeeds if there is nothing. */
  removePrefix(prefix: string, options?: Cancel): Promise<void>

  /**
   * Aborts every unfinished multipart upload of exactly this key and removes its parts; all but the one whose id is
   * `except`.
   */
  abortUploads(key: string, options?: { except?: string | undefined } & Cancel): Promise<void>

  /** Multipart uploads; absent if the store has none. */
  readonly multipart?: MultipartStorage

  /**
   * A download link, valid until `expiresIn` seconds after `from`, with the given response headers. Equal arguments
   * give the same link. Either an absolute URL or a path on this service's own origin.
   */
  signGet(key: string, options: SignGet): Promise<string>

  /**
   * A link that stores bytes of exactly this type, and size and SHA-256 where given, once, begun before
   * `expiresIn` seconds from now. `headers` must be sent as they are (beside Content-Length).
   */
  signPut(key: string, options: SignPut): Promise<{ url: string; headers: Record<string, string> }>

  /**
   * Until when links that are signed now work at most: the end of the session that signs them. Null, or absent: as long
   * as they say. Rejects when the session has ended.
   */
  linksEnd?(): Promise<Date | null>

  /** Resolves when the store is usable. */
  check(options?: Cancel): Promise<void>

  close(): void
}

export type Presentation = { contentType: string; disposition: string }
/**
 * `etag`: as the store writes it; a different ETag means different bytes. `contentEncoding`: as set by the uploader,
 * null for none; readers would decode it. `ordinaryClass`: whether the object has the storage class that the service's
 * own objects have.
 */
export type StoredHead = {
  size: number
  contentType: string
  etag: string
  contentEncoding: string | null
  ordinaryClass: boolean
}
/**
 * `once`: a link stores bytes only once. `checksum`: a link accepts only bytes with the declared SHA-256. `whole`: a link
 * stores nothing when its client dies on the way; versitygw 1.8.0 keeps what has arrived.
 */
export type Enforcement = { once: boolean; checksum: boolean; whole: boolean }
export type ListedObject = { key: string; size: number; lastModified: Date }
export type SignGet = {
  from: Date
  expiresIn: number
  contentType: string
  disposition: string
  cacheControl: string
}
/** `sha256` is 64 hexadecimal digits. */
export type SignPut = { expiresIn: number; contentType: string; size: number | undefined; sha256: string | undefined }

/** Deadline of calls other than put, copy and complete, in milliseconds. */
export const STORE_DEADLINE_MS = 10_000

/** Deadline of a put of this size: a store slower than 1 MiB per second counts as stuck. */
export function putDeadlineMs(size: number): number {
  return STORE_DEADLINE_MS + Math.ceil(size / 1024 / 1024) * 1000
}

/** Deadline of a copy of this size: a slow store copies at 10 MiB per second. */
export function copyDeadlineMs(size: number): number {
  return 60_000 + Math.ceil(size / (10 * 1024 * 1024)) * 1000
}
