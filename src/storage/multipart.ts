/**
 * Uploads in parts, where a store has them: an optional part of the storage port, with the same rules for keys and
 * failures. Every implementation passes `test/contract/multipart.test.ts`.
 */
import type { Cancel } from './cancel.ts'

export interface MultipartStorage {
  /** Begins an upload under a key and gives the store's id of it; another one with each call. */
  begin(key: string, options: { contentType: string } & Cancel): Promise<string>

  /** What has arrived, by number; null when the store has no such upload (any more): it is complete, or aborted. */
  parts(key: string, uploadId: string, options?: Cancel): Promise<StoredPart[] | null>

  /**
   * A link that stores one part, of exactly `size` bytes, in place of an earlier part of this number.
   * Begun before `expiresIn` seconds after `from`, and as long as the upload is neither complete nor aborted. The
   * answer to its PUT has the part's ETag.
   */
  signPart(key: string, uploadId: string, part: SignPart): Promise<string>

  /**
   * Puts these parts together under the key, in one step, unless something is there. Gives up after
   * `COMPLETE_DEADLINE_MS`; like that of any write, the outcome of one that failed is unknown.
   */
  complete(key: string, uploadId: string, parts: readonly StoredPart[], options?: Cancel): Promise<Completion>
}

/** `etag`: as the store writes it, with its quotes. */
export type StoredPart = { partNumber: number; size: number; etag: string }

export type SignPart = { partNumber: number; size: number; from: Date; expiresIn: number }

/**
 * `gone`: the store has no such upload (any more). `occupied`: there are bytes under the key, and they stay. `unfit`:
 * a part is not the listed one any more, or one that is not the last is smaller than `MIN_PART_BYTES`.
 */
export type Completion = 'stored' | 'gone' | 'occupied' | 'unfit'

/** What S3 allows: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
export const MIN_PART_BYTES = 5 * 1024 * 1024
export const MAX_PART_BYTES = 5 * 1024 * 1024 * 1024
export const MAX_PARTS = 10_000

/** A store that puts parts together by copying them takes its time. */
export const COMPLETE_DEADLINE_MS = 60_000
