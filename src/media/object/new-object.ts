/** The values of a new object's row, and the results of inserting it. */
import type { Dimensions, Visibility } from './object.ts'

export type NewObject = {
  id: string
  /** When the id was created, Unix time in milliseconds. */
  madeAt: number
  userId: string
  originalName: string
  mimeType: string
  sizeBytes: number | null
  key: string
  visibility: Visibility
  metadata: Dimensions | Record<string, never>
  /** For how many seconds from now anyone can still write bytes under the object's prefix. */
  linksSeconds: number
  /** How long from its completion on the object is held for a claim; absent: it stays. */
  holdSeconds?: number | undefined
  /** In how many seconds upkeep first looks whether the bytes have arrived; null: never. */
  completeInSeconds: number | null
  idempotency: Idempotency | undefined
  /** The Upload-Metadata of a tus upload as it was sent; absent for other uploads. */
  tusMetadata?: string
}

/** Identifies a request: the client's key, and a SHA-256 of the request. */
export type Idempotency = { key: string; hash: string }

/**
 * `stale`: no row was inserted, nor can one be later. `taken`: another row has the idempotency key. `over_quota`: the
 * owner would exceed a quota.
 */
export type Inserted = 'inserted' | 'stale' | 'taken' | 'over_quota'
