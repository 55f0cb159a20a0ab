/**
 * The port for tus uploads: what each store adds to the data store of `@tus/server`. The id of an upload is the key of
 * its future object.
 */
import type { DataStore } from '@tus/server'
import { Problem } from '../problem.ts'
import type { Cancel } from './cancel.ts'
import { unavailable } from './unavailable.ts'

/**
 * A data store for one request. In addition to the contract of its class:
 * - Nothing is stored under the key before the upload is complete; the `write` of the last byte stores it there.
 * - Two concurrent writers, as when one is cut off from the database without noticing, do no harm if both write the
 *   same bytes.
 * - Every failure that the caller did not cause is thrown as Problem `storage_unavailable`.
 */
export type TusStore = DataStore & {
  /**
   * Stores an upload with all its bytes under its key, when `write` failed to.
   * @throws Problem `not_found` if there is no such upload
   */
  assemble(key: string): Promise<void>
}

/** The metadata of an upload, kept on its row so that every replica has it. */
export type UploadRecord = {
  /** Null until the client declares it. */
  size: number | null
  contentType: string
  /** The store's id of the upload, if it has one. */
  uploadId: string | null
  createdAt: Date
}

/**
 * Each call may throw Problem `database_unavailable`. Methods that write return false when the upload is not pending.
 */
export type UploadRecords = {
  load(key: string): Promise<UploadRecord | null>
  keepUploadId(key: string, uploadId: string): Promise<boolean>
  declareSize(key: string, size: number): Promise<boolean>
}

export type TusRequest = {
  records: UploadRecords
  /** Aborts every call to the store when the request loses the right to write. */
  signal: AbortSignal
  /** Identifies the uploader, for a fair share of the temporary folder. */
  caller: string
}

export type TusStores = {
  /** False when `open` throws Problem `state_conflict`, because the store cannot keep such uploads safely. */
  readonly available: boolean
  open(request: TusRequest): TusStore
  /**
   * Whether all bytes of an upload are there, but not yet under its key; null when the store has no such upload. Asks
   * the store once at most, and may be asked while another request writes.
   */
  hasAll(key: string, record: UploadRecord, options?: Cancel): Promise<boolean | null>
  /** Whether a request waits for room, so that slow bodies must not keep theirs. */
  contended(): boolean
  /** State of the temporary folder: limit and reserved bytes, and the number of waiting requests. */
  room(): { limit: number; reserved: number; waiting: number }
  close(): void
}

// A store's pieces of an upload have the object's key, then this suffix and a number.
const PIECE = '.part'

export function pieceOf(key: string, number: number): string {
  return `${piecesPrefix(key)}${number}`
}

/** Prefix of the keys of all pieces of an upload. */
export function piecesPrefix(key: string): string {
  return `${key}${PIECE}`
}

/** The key of the object that a piece belongs to; any other key is returned unchanged. */
export function wholeOf(key: string): string {
  const at = key.lastIndexOf(PIECE)
  return at !== -1 && /^\d+$/.test(key.slice(at + PIECE.length)) ? key.slice(0, at) : key
}

/** Most bytes of an upload that a broken connection may lose. */
export const TUS_PART_BYTES = 8 * 1024 * 1024

/** Rethrows Problems and errors of tus; any other error of the store becomes `storage_unavailable`. */
export async function reached<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof Problem || (typeof error === 'object' && error !== null && 'status_code' in error)) throw error
    throw unavailable(error)
  }
}
