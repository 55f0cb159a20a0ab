/**
 * Multipart uploads, for stores that have them: an optional part of the storage port, with the same rules for keys and
 * failures. Every implementation passes `test/contract/multipart.test.ts`.
 */
import type { Cancel } from './cancel.ts'

export interface MultipartStorage {
  /** Begins an upload under a key and returns the store's upload id; each call begins another upload. */
  begin(key: string, options: { contentType: string } & Cancel): Promise<string>

  /** The stored parts, by number; null when the store has no such upload, because it is complete or aborted. */
  parts(key: string, uploadId: string, options?: Cancel): Promise<StoredPart[] | null>

  /**
   * A link that stores one part of exactly `size` bytes, and of this MD5 where one is given, and replaces an earlier
   * part with this number. It allows PUTs that begin within `expiresIn` seconds after `from`, while the upload is
   * neither complete nor aborted. `headers` must be sent as they are. The answer to the PUT has the part's ETag.
   */
  signPart(key: string, uploadId: string, part: SignPart): Promise<PartLink>

  /**
   * Whether every link to a part must be signed with the MD5 of its bytes: the store keeps a part whose sender died on
   * the way as a whole one, unless it can tell by a checksum.
   */
  readonly needsMd5: boolean

  /**
   * Assembles these parts under the key atomically, unless something is stored there. Times out after
   * `COMPLETE_DEADLINE_MS`; as with any write, the outcome of a failed call is unknown.
   */
  complete(key: string, uploadId: string, parts: readonly StoredPart[], options?: Cancel): Promise<Completion>
}

/** `etag`: as the store writes it, with its quotes. */
export type StoredPart = { partNumber: number; size: number; etag: string }

/** `md5` is 32 hexadecimal digits. */
export type SignPart = { partNumber: number; size: number; md5?: string | undefined; from: Date; expiresIn: number }

export type PartLink = { url: string; headers: Record<string, string> }

/**
 * `stored`: the store has taken the order; the object may appear only later (versitygw 1.8.0, where another completion is
 * under way). `gone`: the store has no such upload. `occupied`: an object is stored under the key and stays there.
 * `unfit`: a part differs from the listed one, or a part other than the last is smaller than `MIN_PART_BYTES`.
 */
export type Completion = 'stored' | 'gone' | 'occupied' | 'unfit'

/** S3's limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
export const MIN_PART_BYTES = 5 * 1024 * 1024
export const MAX_PART_BYTES = 5 * 1024 * 1024 * 1024
export const MAX_PARTS = 10_000

/** Longer than other calls, for stores that assemble parts by copying them. */
export const COMPLETE_DEADLINE_MS = 60_000
