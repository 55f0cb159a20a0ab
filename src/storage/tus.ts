/**
 * Where the bytes of a tus upload go while they arrive: what each store adds to the data store that `@tus/server`
 * knows. The id of an upload is the key that its object will have.
 */
import type { DataStore } from '@tus/server'
import { Problem } from '../problem.ts'
import { unavailable } from './unavailable.ts'

/**
 * A data store for one request. Beside what its own class promises:
 * - Nothing is under the key before the upload is whole; `write` that brings the last byte puts it there.
 * - Two writers at once, as when one is cut off from the database and does not know it, do no harm as long as both
 *   have the same bytes.
 * - What fails for a reason outside the caller's power is thrown as Problem `storage_unavailable`.
 */
export type TusStore = DataStore & {
  /**
   * Puts an upload whose bytes are all there under its key, where a `write` could not. Throws what is not there as
   * Problem `not_found`.
   */
  assemble(key: string): Promise<void>
}

/** What is remembered of an upload beside its bytes. It is on the upload's row, so that every replica knows it. */
export type UploadRecord = {
  /** Null until the client says. */
  size: number | null
  contentType: string
  /** The store's own id of it, where it has one. */
  uploadId: string | null
  createdAt: Date
}

/** Each call may throw Problem `database_unavailable`. Writers return false when the upload is not under way. */
export type UploadRecords = {
  load(key: string): Promise<UploadRecord | null>
  keepUploadId(key: string, uploadId: string): Promise<boolean>
  declareSize(key: string, size: number): Promise<boolean>
}

export type TusRequest = {
  records: UploadRecords
  /** Ends every call to the store: its caller may not write (any more). */
  signal: AbortSignal
  /** Whose bytes they are, for a fair share of what all have in common. */
  caller: string
}

export type TusStores = {
  open(request: TusRequest): TusStore
  /** Whether a request waits for room, so that slow bodies must not hold theirs. */
  contended(): boolean
  /** Of the temporary folder: bytes that there is room for, and that are reserved, and how many requests wait. */
  room(): { limit: number; reserved: number; waiting: number }
  close(): void
}

// What a store keeps of an upload beside the object has the object's key, then this and a number.
const PIECE = '.part'

export function pieceOf(key: string, number: number): string {
  return `${piecesPrefix(key)}${number}`
}

/** What the keys of all pieces of an upload begin with. */
export function piecesPrefix(key: string): string {
  return `${key}${PIECE}`
}

/** The key of the object that a piece belongs to; any other key as it is. */
export function wholeOf(key: string): string {
  const at = key.lastIndexOf(PIECE)
  return at !== -1 && /^\d+$/.test(key.slice(at + PIECE.length)) ? key.slice(0, at) : key
}

/** How much of an upload may be lost when a connection is. */
export const TUS_PART_BYTES = 8 * 1024 * 1024

/** Problems and tus' own errors as they are; whatever else the store throws is an outage. */
export async function reached<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof Problem || (typeof error === 'object' && error !== null && 'status_code' in error)) throw error
    throw unavailable(error)
  }
}
