/**
 * Where the bytes are: the port, with its contract in prose. Every implementation passes
 * `test/contract/storage.test.ts`.
 *
 * Keys are relative paths of ASCII letters, digits, `-`, `_`, `.` and `/`. Bytes under a key never change: a key is
 * written once, then read, then removed. Whatever fails for a reason outside the caller's power is thrown as Problem
 * `storage_unavailable`; the outcome of a write that failed so is unknown.
 */
import type { Cancel } from './cancel.ts'
import type { MultipartStorage } from './multipart.ts'

export interface Storage {
  /** For logs and readiness. */
  readonly name: 's3' | 'disk'

  /**
   * Stores the bytes durably before it resolves, or not at all; gives up after `putDeadlineMs(bytes.length)`. Who reads
   * them past signed links, as a CDN does, is told type and disposition, too.
   */
  put(
    key: string,
    bytes: Uint8Array,
    options: Pick<Presentation, 'contentType'> & Partial<Presentation> & Cancel,
  ): Promise<void>

  /** What links to upload can be relied on for. */
  readonly enforces: Enforcement

  /** What is stored under a key; null when nothing is. */
  head(key: string, options?: Cancel): Promise<StoredHead | null>

  /**
   * What `head` says, with the object's first `length` bytes (at least 1), all of them where it is no longer than that:
   * one snapshot by one call. Null when nothing is stored. An answer that does not tell the size, or has fewer bytes than
   * it should, is an outage: nothing follows from it about the object.
   */
  peek(key: string, options: { length: number } & Cancel): Promise<(StoredHead & { bytes: Uint8Array }) | null>

  /** At most `length` bytes from `start`; fewer where the object ends. Rejects when nothing is there. */
  read(key: string, range: { start: number; length: number } & Cancel): Promise<Uint8Array>

  /**
   * Copies an object of this size within the store, if its ETag is still this one; else it rejects. What the copy says of
   * itself is what is given here. Gives up after `copyDeadlineMs(size)`.
   */
  copy(from: string, to: string, options: { etag: string; size: number; as: Presentation } & Cancel): Promise<void>

  /** Up to `limit` (1–1,000) objects below a prefix, in the byte order of their keys, after `startAfter`. */
  list(options: { prefix: string; startAfter?: string; limit: number } & Cancel): Promise<ListedObject[]>

  /** Removes these (1–1,000) objects, all that can be. One that is not there is removed already. */
  remove(keys: readonly string[], options?: Cancel): Promise<void>

  /** Removes everything below a prefix that ends with `/`. Nothing being there is success. */
  removePrefix(prefix: string, options?: Cancel): Promise<void>

  /**
   * Ends every multipart upload of exactly this key that is still under way, with the parts it has so far; all but
   * the one whose id is `except`.
   */
  abortUploads(key: string, options?: { except?: string | undefined } & Cancel): Promise<void>

  /** Uploads in parts, where the store has them. */
  readonly multipart?: MultipartStorage

  /**
   * A link that reads the object until `expiresIn` seconds after `from`, with the given response headers. The same
   * arguments give the same link. Absolute, or a path on this service's own origin.
   */
  signGet(key: string, options: SignGet): Promise<string>

  /**
   * A link that stores bytes of exactly this type, and size and SHA-256 where given, once, begun before
   * `expiresIn` seconds from now. `headers` must be sent as they are (beside Content-Length).
   */
  signPut(key: string, options: SignPut): Promise<{ url: string; headers: Record<string, string> }>

  /** Resolves when the store can be used. */
  check(options?: Cancel): Promise<void>

  close(): void
}

export type Presentation = { contentType: string; disposition: string }
/**
 * `etag`: as the store writes it; another one means other bytes. `contentEncoding`: what readers would undo, as an
 * uploader has said; null for none. `ordinaryClass`: whether the store keeps it as it keeps what the service stores.
 */
export type StoredHead = {
  size: number
  contentType: string
  etag: string
  contentEncoding: string | null
  ordinaryClass: boolean
}
/** `once`: a link stores bytes once. `checksum`: it takes only bytes of the declared SHA-256. */
export type Enforcement = { once: boolean; checksum: boolean }
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

/** How long any call but a put may take, in milliseconds. */
export const STORE_DEADLINE_MS = 10_000

/** How long a put of so many bytes may take: a store that takes less than 1 MiB a second counts as stuck. */
export function putDeadlineMs(size: number): number {
  return STORE_DEADLINE_MS + Math.ceil(size / 1024 / 1024) * 1000
}

/** How long a copy of so many bytes may take: the store does the work, at 10 MiB a second if it is slow. */
export function copyDeadlineMs(size: number): number {
  return 60_000 + Math.ceil(size / (10 * 1024 * 1024)) * 1000
}
